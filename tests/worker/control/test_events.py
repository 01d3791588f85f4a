"""What happens to tasks and workers is told to whoever listens, on every broker; nobody listens, nothing is sent."""

from __future__ import annotations

import asyncio
import threading

import pytest

from longshore.events import State
from tests.support.workers import wait_for
from tests.worker import tasks_for_tests as tasks
from tests.worker.control.test_commands import NODE, ask, there


@pytest.fixture
def heard(bench):
    """Everything that is heard from now on, and the picture of it."""
    events, state = [], State()
    receiver = bench.app.events.Receiver(handlers={"*": lambda event: (events.append(event), state.event(event))})
    thread = threading.Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True)
    thread.start()
    yield events, state
    receiver.should_stop = True
    thread.join(10)


def kinds(events, task_id):
    return [event["type"] for event in events if event.get("uuid") == task_id]


@pytest.mark.parity("G6")
@pytest.mark.parametrize("execution", ["processes", "threads"])
def test_a_worker_tells_of_its_life_and_of_its_tasks(bench, heard, execution):
    events, state = heard
    with bench.worker("-c", "2", "-n", NODE, "-E", "--execution", execution) as worker:
        wait_for("a heartbeat", lambda: NODE in state.workers)
        good = tasks.add.delay(2, 3).id
        bad = tasks.fails.delay("no").id
        again = tasks.flaky.delay(1).id
        wait_for("the end of all", lambda: all(task in state.tasks and state.tasks[task].ready for task in (good, bad)))
        assert kinds(events, good) == ["task-received", "task-started", "task-succeeded"]
        task = state.tasks[good]
        assert (task.name, task.args, task.result, task.worker) == (tasks.add.name, "(2, 3)", "5", NODE)
        assert task.runtime >= 0
        assert state.tasks[bad].state == "FAILURE"
        assert "ValueError('no')" in state.tasks[bad].exception
        assert "Traceback" in state.tasks[bad].traceback
        wait_for("a retry", lambda: "task-retried" in kinds(events, again) and "task-succeeded" in kinds(events, again))
        wait_for("a heartbeat", lambda: "worker-heartbeat" in [event["type"] for event in events])
        assert state.workers[NODE].freq == 2.0
        assert wait_for("its work", lambda: state.workers[NODE].processed >= 4)
        clocks = [event["clock"] for event in events]
        assert len(set(clocks)) > len(clocks) / 2
        worker.terminate()
        wait_for("its end", lambda: not state.workers[NODE].alive)


def test_events_are_switched_on_and_off_at_run_time(bench, heard):
    events, _ = heard
    with bench.worker("-c", "1", "-n", NODE):
        there(bench)
        silent = tasks.add.delay(1, 1)
        silent.get(timeout=20)
        assert ask(bench, "enable_events") == {"ok": "task events enabled"}
        assert ask(bench, "enable_events") == {"ok": "task events already enabled"}
        told = tasks.add.delay(2, 2)
        wait_for("it is told", lambda: "task-succeeded" in kinds(events, told.id))
        assert ask(bench, "disable_events") == {"ok": "task events disabled"}
        quiet = tasks.add.delay(3, 3)
        quiet.get(timeout=20)
        before = len(events)
        assert ask(bench, "heartbeat")["ok"]
        wait_for("a heartbeat", lambda: len(events) > before)
        assert kinds(events, silent.id) == kinds(events, quiet.id) == []


@pytest.mark.parametrize("send", [lambda: tasks.add.delay(4, 5), lambda: asyncio.run(tasks.add.adelay(4, 5))])
def test_a_client_tells_what_it_sends_where_that_is_wanted(bench, heard, monkeypatch, send):
    _, state = heard
    monkeypatch.setitem(bench.app.conf, "task_send_sent_event", True)

    def is_heard():
        sent = send().id  # the listener may not be there yet
        return wait_for("it is told", lambda: sent in state.tasks, 1) and state.tasks[sent]

    task = _eventually(is_heard)
    assert (task.state, task.name, task.queue, task.args) == ("PENDING", tasks.add.name, bench.queue, "(4, 5)")


def _eventually(check):
    for _ in range(10):
        try:
            return check()
        except AssertionError:
            continue
    raise AssertionError("never")
