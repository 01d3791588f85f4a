"""What a Celery user relies on without thinking of it, seen on a real worker and every broker."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from longshore import Longshore
from longshore.core.protocol import parse_call
from tests.support.workers import wait_for
from tests.worker import tasks_for_tests as tasks


@pytest.mark.parity("A1")
def test_a_message_carries_the_tasks_name_and_its_arguments_and_no_code(bench):
    tasks.add.delay(1, 2)
    (message,) = bench.app.broker.peek(bench.queue, 2)
    assert message.headers["task"] == "tests.worker.tasks_for_tests.add"
    assert json.loads(message.body)[:2] == [[1, 2], {}]
    assert b"return" not in message.body


@pytest.mark.parity("A3")
def test_what_a_worker_registered_by_importing_its_module_can_be_seen(bench):
    with bench.worker("-c", "1") as worker:
        worker.ready()
        (report,) = wait_for("its report", bench.reports)
    assert "tests.worker.tasks_for_tests.add" in report.tasks
    assert report.task_count == len(bench.app.tasks)


@pytest.mark.parity("A4")
def test_nothing_waits_behind_a_long_task_while_a_process_is_idle(bench):
    """Also when many short tasks before it made the worker claim ahead."""
    go = bench.folder / "go"
    with bench.worker("-c", "2", "--ack-policy", "late"):
        warm = bench.app.send_many([(tasks.add, (number, 0)) for number in range(300)])
        long = tasks.slow.delay("long", str(go))
        behind = bench.app.send_many([(tasks.add, (number, 1)) for number in range(50)])
        assert [result.get(timeout=30) for result in behind] == list(range(1, 51))
        assert [result.get(timeout=30) for result in warm] == list(range(300))
        go.touch()
        assert long.get(timeout=20) == "long"


@pytest.mark.parity("A7")
def test_long_and_short_tasks_go_to_workers_of_their_own(bench):
    go = bench.folder / "go"
    with bench.worker("-c", "1"):
        long = tasks.slow.delay("long", str(go))
        wait_for("the long one has started", bench.effects)
        short = f"{bench.queue}-short"
        with bench.worker("-c", "1", "-Q", short) as other:
            wait_for("the queue is declared", lambda: bench.app.broker.depths([short])[short])
            other.ready()
            assert tasks.add.apply_async((1, 1), queue=short).get(timeout=20) == 2
        go.touch()
        assert long.get(timeout=20) == "long"


@pytest.mark.parity("A8", "B8")
def test_a_worker_logs_in_the_foreground_with_the_task_on_each_line(bench):
    with bench.worker("-c", "1", "-l", "warning") as worker:
        sent = tasks.logs.delay("look here")
        line = wait_for("the line", lambda: [line for line in worker.log.splitlines() if "look here" in line])[0]
        assert "claimed" not in worker.log
    said = json.loads(line)
    assert (said["task_id"], said["task_name"]) == (sent.id, "tests.worker.tasks_for_tests.logs")
    assert (said["level"], said["logger"]) == ("warning", "tests.logs")


@pytest.mark.parity("B4")
def test_a_task_knows_all_about_its_call(bench):
    eta = datetime.now(UTC) - timedelta(seconds=1)
    with bench.worker("-c", "1", "-n", "celery@here"):
        options = {"task_id": "t-1", "expires": 600, "eta": eta, "priority": 3, "headers": {"custom": "x"}}
        said = tasks.tells.apply_async((1,), {"k": 2}, **options).get(timeout=20)
    assert said.pop("origin").startswith("gen")
    assert said.pop("expires") > eta
    assert said == {
        "id": "t-1", "task": "tests.tells", "args": [1], "kwargs": {"k": 2}, "retries": 0, "root_id": "t-1",
        "parent_id": None, "group": None, "eta": eta, "queue": bench.queue, "redelivered": False, "deliveries": 0,
        "hostname": "celery@here", "correlation_id": "t-1", "custom": "x", "direct": False, "priority": 3,
    }  # fmt: skip


@pytest.mark.parity("B9")
def test_an_exception_that_cannot_be_rebuilt_reaches_the_caller_readable(bench):
    with bench.worker("-c", "1"):
        failed = tasks.fails_strangely.delay()
        with pytest.raises(Exception, match="object object at") as caught:
            failed.get(timeout=20)
        assert type(caught.value).__name__ == "Strange"
        assert "strange to tell" in failed.traceback


@pytest.mark.parity("C5")
def test_a_task_sent_by_name_is_as_its_declaration_says(bench):
    client = Longshore("client", broker=bench.broker, backend=bench.app.conf.result_backend, set_as_current=False)
    with bench.worker("-c", "1"):
        retried = client.send_task("tests.worker.tasks_for_tests.flaky", (2,), queue=bench.queue)
        assert retried.get(timeout=20) == 2
        ignored = client.send_task("tests.worker.tasks_for_tests.forgotten", queue=bench.queue)
        wait_for("it ran", lambda: "forgotten" in bench.effects())
        wait_for("settled", bench.empty)
        assert ignored.state == "PENDING", "the worker's task says ignore_result, the client said nothing"
    client.close()


@pytest.mark.parity("C6")
def test_a_send_does_not_even_connect_to_the_result_backend(bench, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as backend:
        monkeypatch.setenv("LONGSHORE_RESULT_BACKEND", f"redis://127.0.0.1:{backend.getsockname()[1]}/0")
        client = Longshore("client", broker=bench.broker, set_as_current=False)
        client.send_task("t", queue=bench.queue)
        client.send_many([("t", ())] * 3, queue=bench.queue)
        client.close()
        backend.settimeout(0)
        with pytest.raises(BlockingIOError):
            backend.accept()
    assert bench.depth().ready == 4


@pytest.mark.parity("E6", "G1", "G2")
def test_the_states_of_tasks_as_they_go(bench):
    """STARTED only where it is asked for; a retried task goes PENDING, RETRY, SUCCESS."""
    go = bench.folder / "go"
    with bench.worker("-c", "2"):
        tracked, retried = tasks.tracked.delay(str(go)), tasks.waits_then_retries.delay(str(go))
        wait_for("STARTED", lambda: tracked.state == "STARTED")
        assert retried.state == "PENDING"
        go.touch()
        wait_for("RETRY", lambda: retried.state == "RETRY")
        assert retried.get(timeout=20) == "done"
        wait_for("SUCCESS", lambda: tracked.state == "SUCCESS")


@pytest.mark.parity("G6")
def test_tasks_are_counted_without_results(bench, monkeypatch, unused_tcp_port):
    def metrics():
        with urllib.request.urlopen(f"http://127.0.0.1:{unused_tcp_port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def counted():
        samples = re.findall(r"^longshore_tasks_run_total\S* (\S+)$", metrics(), re.MULTILINE)
        return sum(float(sample) for sample in samples)

    bench.environ.pop("LONGSHORE_RESULT_BACKEND")
    monkeypatch.delenv("LONGSHORE_RESULT_BACKEND")
    with bench.worker("-c", "1", "--http-port", str(unused_tcp_port)) as worker:
        worker.ready()
        for _ in range(3):
            tasks.innocent.delay(1)
        wait_for("all ran", lambda: len(bench.effects()) == 3)
        wait_for("three are counted", lambda: counted() == 3)


def test_a_peeked_message_parses(bench):
    tasks.add.apply_async((1, 2), priority=5)
    (message,) = bench.app.broker.peek(bench.queue, 1)
    assert parse_call(message).properties["priority"] == 5
