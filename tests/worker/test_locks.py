"""Locks of tasks with real workers: one at a time, never in a slot, and free when a holder dies."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from longshore.exceptions import LockNotAcquired, NoStore
from longshore.worker.conditions import check_store
from tests.support.workers import run_command, wait_for
from tests.worker import tasks_for_conditions as tasks
from tests.worker.conftest import Bench

pytestmark = pytest.mark.parity("H6")
PATH = "tests.worker.tasks_for_conditions:app"


@pytest.fixture
def bench(servers, tmp_path, monkeypatch):
    bench = Bench(tmp_path, *servers, monkeypatch, tasks.app, PATH)
    yield bench
    bench.app.close()


def spans(bench: Bench, lock: str) -> list[tuple[float, float]]:
    """From when to when each run had the lock, in order."""
    lines = [line.split() for line in bench.effects()]
    ends = {words[2]: float(words[3]) for words in lines if words[:2] == ["end", lock]}
    return sorted((float(words[3]), ends[words[2]]) for words in lines if words[:2] == ["start", lock])


def test_one_at_a_time_for_each_argument(bench):
    with bench.worker("-c", "3") as worker:
        worker.ready()
        sent = [tasks.report.delay(data_id, f"{data_id}{n}", seconds=0.1) for n in range(3) for data_id in "ab"]
        assert [one.get(timeout=30) for one in sent] == [f"{data_id}{n}" for n in range(3) for data_id in "ab"]
    for lock in "ab":
        runs = spans(bench, lock)
        assert len(runs) == 3
        assert all(before[1] <= after[0] for before, after in pairwise(runs))


def test_who_waits_for_a_lock_waits_in_the_broker_not_in_a_slot(bench, tmp_path):
    gate = tmp_path / "gate"
    with bench.worker("-c", "2") as worker:
        worker.ready()
        tasks.report.delay("a", "first", until=str(gate))
        wait_for("the lock held", lambda: any("start a first" in line for line in bench.effects()))
        waiting = [tasks.report.delay("a", f"later{n}") for n in range(4)]
        assert [tasks.add.delay(n, 1).get(timeout=20) for n in range(3)] == [1, 2, 3]
        assert not any("later" in line for line in bench.effects())
        gate.touch()
        assert [one.get(timeout=30) for one in waiting] == [f"later{n}" for n in range(4)]


def test_a_lock_outlives_its_time_out_while_its_task_holds_the_gil(bench):
    with bench.worker("-c", "2") as worker:
        worker.ready()
        first = tasks.holds_the_gil.delay("first", 2.0)
        wait_for("the lock held", bench.effects)
        second = tasks.holds_the_gil.delay("second", 0.0)
        first.get(timeout=20)
        second.get(timeout=20)
        (_, ended), (began, _) = spans(bench, "gil")
        assert ended <= began


def test_a_process_that_dies_frees_its_lock_at_once(bench):
    with bench.worker("-c", "2") as worker:
        worker.ready()
        began = time.monotonic()
        assert tasks.dies_once.delay().get(timeout=19) == 2
        assert time.monotonic() - began < 15, "long before the lock's time-out of 20 s"


def test_a_worker_that_vanishes_frees_its_lock_by_expiry(bench, tmp_path):
    gate = tmp_path / "gate"
    with bench.worker("-c", "1") as worker:
        worker.ready()
        tasks.short_lease.delay("first", until=str(gate))
        wait_for("the lock held", bench.effects)
        worker.kill()
    with bench.worker("-c", "1") as worker:
        second = tasks.short_lease.delay("second")
        gate.touch()
        assert second.get(timeout=30) == "second"


def test_after_the_blocking_time_out_it_fails_and_says_why(bench, tmp_path):
    gate = tmp_path / "gate"
    with bench.worker("-c", "2") as worker:
        worker.ready()
        tasks.report.delay("a", "first", until=str(gate))
        wait_for("the lock held", bench.effects)
        with pytest.raises(LockNotAcquired, match=r"report:a.*0\.4 s"):
            tasks.impatient.delay("a").get(timeout=20)
        gate.touch()
    assert "impatient a" not in bench.effects()


@pytest.mark.parametrize("execution", ["threads", "asyncio"])
def test_in_the_other_execution_modes(bench, execution):
    with bench.worker("-c", "3", "--execution", execution) as worker:
        worker.ready()
        sent = [tasks.report.delay("a", str(n), seconds=0.1) for n in range(3)]
        for one in sent:
            one.get(timeout=30)
    runs = spans(bench, "a")
    assert len(runs) == 3
    assert all(before[1] <= after[0] for before, after in pairwise(runs))


@pytest.mark.integration
def test_a_store_that_is_down_delays_and_loses_nothing(tmp_path, monkeypatch, new_redis):
    store = new_redis()
    monkeypatch.setenv("LONGSHORE_STORE_URL", store.url())
    bench = Bench(tmp_path, f"sqlite:///{tmp_path}/b.db", f"sqlite:///{tmp_path}/r.db", monkeypatch, tasks.app, PATH)
    with bench.worker("-c", "1", "-l", "debug") as worker:
        worker.ready()
        store.kill()
        sent = tasks.report.delay("a", "late")
        assert tasks.add.delay(1, 2).get(timeout=20) == 3, "others run meanwhile"
        wait_for("it waits", lambda: "store does not answer" in worker.log, 20)
        store.start()
        assert sent.get(timeout=30) == "late"
    bench.app.close()


class TestWithoutAStore:
    def test_a_worker_says_so_at_its_start(self, monkeypatch):
        monkeypatch.delenv("LONGSHORE_RESULT_BACKEND", raising=False)
        done = run_command("worker", PATH, "-b", "amqp://guest:guest@127.0.0.1:1//")
        assert done.returncode == 2
        assert "report:{data_id}" in done.stderr + done.stdout
        assert "set store_url" in done.stderr + done.stdout
        assert "Traceback" not in done.stderr + done.stdout

    @pytest.mark.parametrize("options", [{"lock": True}, {"rate_limit": "1/s"}, {"idempotency_key": "{x}"}])
    def test_each_option_that_needs_one_is_named(self, options):
        from longshore import Longshore

        app = Longshore("storeless", broker="amqp://localhost//", set_as_current=False)
        app.task(**options)(lambda x: x)
        with pytest.raises(NoStore, match=next(iter(options))):
            check_store(app, app.tasks)
        app.conf.store_url = "redis://localhost/0"
        check_store(app, app.tasks)
