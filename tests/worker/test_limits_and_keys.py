"""Rate limits over all workers, and idempotency keys, with real brokers and workers."""

from __future__ import annotations

import os
import threading
import time

import pytest
from pydantic import SecretStr

from longshore import Longshore, sealing
from longshore.core.protocol import build_message, parse_call
from longshore.core.ratelimit import parse_rate
from longshore.exceptions import ImproperlyConfigured, MessageTooLarge, NoStore
from longshore.worker.conditions import Conditions
from longshore.worker.locks import LockPipe
from longshore.worker.options import WorkerOptions
from longshore.worker.plan import Plans
from longshore.worker.rates import RateChanges
from tests.support.workers import wait_for
from tests.worker import tasks_for_conditions as tasks
from tests.worker.conftest import Bench

pytestmark = pytest.mark.parity("I2", "I4")
PATH = "tests.worker.tasks_for_conditions:app"


@pytest.fixture
def bench(servers, tmp_path, monkeypatch):
    bench = Bench(tmp_path, *servers, monkeypatch, tasks.app, PATH)
    yield bench
    bench.app.close()


def runs_of_limited(bench: Bench) -> list[float]:
    return sorted(float(line.split()[2]) for line in bench.effects() if line.startswith("limited"))


class TestRateLimits:
    def test_one_limit_holds_over_all_workers(self, bench):
        count, rate = 60, 20
        with bench.worker("-c", "2", "-n", "one") as one, bench.worker("-c", "2", "-n", "two") as two:
            one.ready()
            two.ready()
            tasks.app.send_many([(tasks.limited, [n]) for n in range(count)])
            wait_for("all of them", lambda: len(runs_of_limited(bench)) >= count, 60)
        runs = runs_of_limited(bench)
        assert len(runs) == count, "none twice"
        windows = [sum(start <= at < start + 1.0 for at in runs) for start in runs]
        seconds = runs[-1] - runs[0]
        assert (count - 1) / seconds <= rate * 1.05, "the limit holds within 5 %"
        assert max(windows) <= rate * 1.05 + 5, "and in each second, but for the jitter of a busy machine"
        assert (count - 1) / seconds >= rate * 0.5, "and what the limit allows is used"

    def test_a_command_changes_it_while_workers_run(self, bench):
        with bench.worker("-c", "2") as worker:
            worker.ready()
            replies = tasks.app.control.rate_limit(tasks.limited.name, "4/s", reply=True, timeout=5)
            assert [answer for reply in replies for answer in reply.values()] == [
                {"ok": "new rate limit set successfully"}
            ]
            tasks.app.send_many([(tasks.limited, [n]) for n in range(9)])
            wait_for("all of them", lambda: len(runs_of_limited(bench)) >= 9, 30)
        runs = runs_of_limited(bench)
        assert runs[-1] - runs[0] >= 8 / 4 * 0.95

    def test_a_high_rate_is_taken_in_batches(self, tmp_path):
        """Many turns a second cost few questions, and none is given twice."""
        url = f"sqlite:///{tmp_path}/s.db"
        app = Longshore("fast", broker=url, set_as_current=False)
        app.task(name="t", rate_limit="2000/s")(lambda: None)
        conditions, store = Conditions(app, "w", LockPipe(), RateChanges()), app.store
        asked = []
        take = store.take
        store.take = lambda *given, **options: asked.append(1) or take(*given, **options)
        plan = Plans(app, WorkerOptions(queues=("q",), concurrency=1, worker="w", name="n")).of("t")
        began, ran = time.monotonic(), 0
        while ran < 300:
            ran += conditions.admit(parse_call(build_message("t", task_id="a")), plan) is None
        assert len(asked) <= 60
        assert 300 / (time.monotonic() - began) <= 2000 * 1.15
        app.close()

    def test_a_change_reaches_processes_that_run(self):
        changes = RateChanges()
        assert changes.rate("mails", parse_rate("1/s")) == parse_rate("1/s")
        reader, writer = os.pipe()
        ready, go = os.pipe()
        child = os.fork()
        if child == 0:
            os.read(ready, 1)
            os.write(writer, repr((str(changes.rate("mails", None)), changes.rate("reports", None))).encode())
            os._exit(0)
        changes.change("mails", "50/m")
        changes.change("reports", "5/s")
        changes.change("reports", None)
        os.write(go, b"x")
        assert os.read(reader, 100).decode() == "('50/m', None)"
        os.waitpid(child, 0)
        for end in (reader, writer, ready, go):
            os.close(end)
        with pytest.raises(ImproperlyConfigured, match="100/m"):
            changes.change("mails", "fast")


class TestIdempotencyKeys:
    def test_of_a_thousand_sends_at_once_one_runs_and_all_have_its_result(self, bench):
        senders, each = 4, 250
        with bench.worker("-c", "2") as worker:
            worker.ready()
            results = _send_from_processes(senders, each)
            assert len(set(results)) == 1, "every send has the same id"
            assert tasks.app.AsyncResult(results[0]).get(timeout=60) == "paid 7"
            wait_for("all copies gone", bench.empty, 60)
        assert [line for line in bench.effects() if line.startswith("pay 7")] == ["pay 7 0"]

    def test_its_retries_run(self, bench):
        with bench.worker("-c", "2") as worker:
            worker.ready()
            sent = [tasks.pay.delay(1, fail_times=2) for _ in range(3)]
            assert sent[0].get(timeout=30) == "paid 1"
            wait_for("all copies gone", bench.empty, 30)
        assert bench.effects() == ["pay 1 0", "pay 1 1", "pay 1 2"]

    def test_its_redelivery_after_a_death_runs(self, bench):
        with bench.worker("-c", "2") as worker:
            worker.ready()
            sent = [tasks.pay.delay(1, die_times=1) for _ in range(3)]
            assert sent[0].get(timeout=30) == "paid 1"
        assert bench.effects() == ["pay 1 0", "pay 1 0"]

    def test_another_key_is_another_task(self, bench):
        assert tasks.pay.delay(1).id != tasks.pay.delay(2).id
        assert tasks.pay.delay(1).id == tasks.app.send_task(tasks.pay.name, [1]).id
        by_call = [tasks.add.apply_async((1, 2), idempotency_key=key).id for key in "aab"]
        assert by_call[0] == by_call[1] != by_call[2]

    def test_an_id_and_a_key_exclude_each_other(self, bench):
        with pytest.raises(TypeError, match="exclude each other"):
            tasks.add.apply_async((1, 2), idempotency_key="a", task_id="b")


def _send_from_processes(senders: int, each: int) -> list[str]:
    """Send from many threads of many processes at once; return the ids."""
    reader, writer = os.pipe()
    start = time.monotonic() + 0.3
    children = []
    for _ in range(senders):
        child = os.fork()
        if child == 0:
            try:
                _send_from_threads(start, each, writer)
            finally:
                os._exit(0)
        children.append(child)
    os.close(writer)
    ids = b""
    while data := os.read(reader, 65536):
        ids += data
    os.close(reader)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    sent = ids.decode().split()
    assert len(sent) == senders * each
    return sent


def _send_from_threads(start: float, each: int, writer: int) -> None:
    def send(count: int) -> None:
        time.sleep(max(0.0, start - time.monotonic()))
        for _ in range(count):
            os.write(writer, f"{tasks.pay.delay(7).id}\n".encode())

    threads = [threading.Thread(target=send, args=(each // 5,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parity("I5")
class TestMessageSize:
    def test_too_large_arguments_are_an_error_at_the_call(self):
        app = Longshore("small", broker="sqlite:////nowhere.db", task_message_max_bytes=1000, set_as_current=False)
        app.task(name="t")(lambda text: text)
        app.outgoing("t", ["x" * 900], {})
        with pytest.raises(MessageTooLarge, match=r"1,0\d\d bytes.*limit is 1,000.*task_message_max_bytes"):
            app.send_task("t", ["x" * 1000])


@pytest.mark.parity("C10")
class TestSecrets:
    def test_a_secret_argument_masks_itself_wherever_arguments_are_shown(self):
        app = Longshore("masked", broker="sqlite:////nowhere.db", set_as_current=False)
        app.task(name="t")(lambda user, password: None)
        message = app.outgoing("t", ["ada"], {"password": SecretStr("hunter2")}).message
        assert "hunter2" not in repr(message.headers)
        assert "**********" in message.headers["kwargsrepr"]
        assert parse_call(message).kwargs == {"password": "hunter2"}, "the task gets it"

    def test_the_caller_may_say_what_is_shown(self):
        app = Longshore("masked", broker="sqlite:////nowhere.db", set_as_current=False)
        headers = app.outgoing("t", ["hunter2"], {}, argsrepr="(<password>,)", kwargsrepr="{}").message.headers
        assert "hunter2" not in repr(headers)
        assert headers["argsrepr"] == "(<password>,)"


@pytest.mark.parity("C10")
def test_sealed_messages_run_and_those_that_cannot_be_opened_are_kept(bench, monkeypatch):
    fernet = pytest.importorskip("cryptography.fernet")
    monkeypatch.setenv(sealing.KEYS, fernet.Fernet.generate_key().decode())
    sealing.keyring.cache_clear()
    try:
        with bench.worker("-c", "1") as worker:
            worker.ready()
            sent = tasks.pay.delay("sealed", fail_times=1)
            assert sent.get(timeout=20) == "paid sealed"
        tasks.add.delay(1, 2)
        assert not any(b"add" in one.body for one in bench.app.broker.peek(bench.queue, 5))
        monkeypatch.delenv(sealing.KEYS)
        with bench.worker("-c", "1") as worker:
            worker.ready()
            letter = wait_for("a dead letter", bench.dead)[0]
        assert "is not set here" in letter.headers["longshore-dead"]["message"]
    finally:
        sealing.keyring.cache_clear()


def test_without_a_store_a_rate_limit_cannot_be_set_at_run_time_either():
    app = Longshore("storeless", broker="amqp://localhost//", set_as_current=False)
    changes = RateChanges(app.require_store)
    with pytest.raises(NoStore, match="set store_url"):
        changes.change("mails", "10/s")
    changes.change("mails", None)
    assert changes.rate("mails", None) is None
