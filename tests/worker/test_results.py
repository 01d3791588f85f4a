"""Results end to end: who decides whether one is kept, the states, RPC, and awaiting."""

from __future__ import annotations

import asyncio
import time

import pytest

from longshore.core.protocol import build_message, parse_call
from longshore.exceptions import ImproperlyConfigured, TaskRevokedError, TimeoutError  # noqa: A004
from longshore.worker.options import WorkerOptions
from longshore.worker.plan import Plans
from tests.support.workers import wait_for
from tests.worker import tasks_for_tests as tasks


@pytest.mark.parity("G4")
@pytest.mark.parametrize(
    ("app_ignores", "task_ignores", "call_ignores", "kept"),
    [
        (False, None, None, True),
        (True, None, None, False),
        (False, True, None, False),
        (True, False, None, True),
        (False, None, True, False),
        (True, None, False, True),
        (False, True, False, True),
        (True, False, True, False),
    ],
)
def test_the_call_wins_over_the_task_and_the_task_over_the_app(app_ignores, task_ignores, call_ignores, kept):
    from longshore import Longshore

    app = Longshore("t", broker="sqlite:///x.db", backend="redis://localhost/9", set_as_current=False)
    app.conf.task_ignore_result = app_ignores
    app.task(name="t", ignore_result=task_ignores)(lambda: None)
    call = parse_call(build_message("t", task_id="a", ignore_result=call_ignores))
    plans = Plans(app, WorkerOptions(queues=("q",), concurrency=1, worker="w", name="n"))
    assert plans.of("t").keeps_result_of(call) is kept


@pytest.mark.parity("G4")
@pytest.mark.parametrize("backend", [None, "disabled://"])
def test_without_a_backend_nothing_is_kept_whoever_asks(backend):
    from longshore import Longshore

    app = Longshore("t", broker="sqlite:///x.db", backend=backend, set_as_current=False)
    app.task(name="t", ignore_result=False)(lambda: None)
    call = parse_call(build_message("t", task_id="a", ignore_result=False))
    plans = Plans(app, WorkerOptions(queues=("q",), concurrency=1, worker="w", name="n"))
    assert not plans.of("t").keeps_result_of(call)


@pytest.mark.parity("G5")
def test_answers_come_as_messages(bench, monkeypatch):
    monkeypatch.setenv("LONGSHORE_RESULT_BACKEND", "rpc://")
    bench.environ["LONGSHORE_RESULT_BACKEND"] = "rpc://"
    bench.app.close()
    with bench.worker("-c", "2") as worker:
        worker.ready()
        sent = [tasks.add.delay(n, 1) for n in range(5)]
        failed = tasks.fails.delay("no")
        assert [one.get(timeout=20) for one in sent] == [1, 2, 3, 4, 5]
        with pytest.raises(ValueError, match="no"):
            failed.get(timeout=20)
    wait_for("nothing left", bench.empty)


@pytest.mark.parity("G3")
def test_results_can_be_awaited(bench, tmp_path):
    async def main() -> None:
        sent = [tasks.add.delay(n, 1) for n in range(50)]
        began = time.process_time()
        assert await asyncio.gather(*sent) == [n + 1 for n in range(50)]
        assert time.process_time() - began < 5, "no storm of questions"
        assert await sent[0] == 1, "again, from memory"
        with pytest.raises(ValueError, match="no"):
            await tasks.fails.delay("no")
        with pytest.raises(TimeoutError, match=r"0\.2 s"):
            await bench.app.AsyncResult("missing").aget(timeout=0.2)

    with bench.worker("-c", "2") as worker:
        worker.ready()
        asyncio.run(main())


@pytest.mark.parity("G3")
def test_awaiting_in_a_task_is_refused():
    from longshore import Longshore

    app = Longshore("t", broker="sqlite:///x.db", backend="disabled://", set_as_current=False)

    @app.task
    async def waits():
        await app.AsyncResult("other")

    with pytest.raises(ImproperlyConfigured, match="within a task"):
        waits.apply().get()


@pytest.mark.parity("G1")
@pytest.mark.parity("G2")
def test_the_states_in_their_order(bench, tmp_path):
    gate = tmp_path / "gate"
    result = tasks.slow_tracked.delay(str(gate))
    assert result.state == "PENDING"
    with bench.worker("-c", "1") as worker:
        worker.ready()
        wait_for("STARTED", lambda: result.state == "STARTED")
        assert result.result["pid"] in worker.children()
        gate.touch()
        wait_for("a state of its own", lambda: result.state == "PROGRESS")
        assert result.result == {"done": 50}
        (tmp_path / "gate2").touch()
        wait_for("RETRY", lambda: result.state == "RETRY")
        wait_for("SUCCESS", lambda: result.state == "SUCCESS")
        assert result.successful()


@pytest.mark.parity("C4")
@pytest.mark.parity("G1")
def test_what_expired_is_revoked(bench):
    expired = tasks.add.apply_async((1, 2), expires=0.01)
    time.sleep(0.02)
    with bench.worker("-c", "1") as worker:
        worker.ready()
        if bench.broker.startswith("amqp"):
            return  # RabbitMQ may have dropped it before anybody saw it
        with pytest.raises(TaskRevokedError):
            expired.get(timeout=20)
    assert bench.effects() == []


@pytest.mark.parity("G5")
def test_an_extended_result_says_what_the_call_was(bench, monkeypatch):
    bench.environ["EXTENDED"] = "1"
    with bench.worker("-c", "1", "-n", "me@here") as worker:
        worker.ready()
        result = tasks.add.delay(2, 3)
        assert result.get(timeout=20) == 5
        [meta] = bench.app.backend.fetch([result.id])
    assert (meta.name, meta.args, meta.kwargs, meta.retries, meta.queue) == (
        tasks.add.name, [2, 3], {}, 0, bench.queue,
    )  # fmt: skip
    assert meta.worker == "me@here"
