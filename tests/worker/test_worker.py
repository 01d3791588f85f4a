"""A worker on the embedded broker, as a user runs it: every test starts the real command."""

from __future__ import annotations

import os
import signal
import threading
from types import SimpleNamespace

import pytest

from longshore.exceptions import ImproperlyConfigured, TimeoutError  # noqa: A004
from longshore.message import DEAD_HEADER
from longshore.request import Request, current_run
from longshore.worker.tasks import GROUP
from tests.support.workers import Worker, is_gone, run_command, wait_for
from tests.worker import tasks_for_tests as tasks


def killed(worker: Worker, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_for("the child is gone", lambda: pid not in worker.children())


@pytest.mark.parity("C1", "C2", "G1", "G3")
def test_a_sent_task_runs_and_its_result_comes_back(bench):
    with bench.worker("-c", "1"):
        assert tasks.add.delay(2, 3).get(timeout=20) == 5
        result = tasks.who.apply_async(task_id="my-id", queue=bench.queue)
        assert result.get(timeout=20)["id"] == "my-id"
        assert result.successful()
    assert bench.effects() == ["add 2 3"]


@pytest.mark.parity("B1")
def test_a_coroutine_function_is_a_task(bench):
    with bench.worker("-c", "1"):
        assert tasks.coroutine.delay(21).get(timeout=20) == 42


def test_many_tasks_on_two_processes_each_run_once(bench):
    bench.app.send_many([(tasks.add, (number, 0)) for number in range(500)])
    with bench.worker("-c", "2", "--ack-policy", "late", "-l", "warning"):
        wait_for("all done", lambda: len(bench.effects()) >= 500 and bench.empty())
    assert sorted(bench.effects()) == sorted(f"add {number} 0" for number in range(500))


@pytest.mark.parity("E1", "E2")
def test_a_retried_task_keeps_its_id_and_succeeds(bench):
    with bench.worker("-c", "1"):
        result = tasks.flaky.delay(2)
        assert result.get(timeout=20) == 2
    assert bench.effects() == ["flaky 0", "flaky 1", "flaky 2"]


@pytest.mark.parity("E3", "E4")
def test_autoretry_ends_with_the_tasks_own_exception(bench):
    with bench.worker("-c", "1"), pytest.raises(ConnectionError, match="nobody there"):
        tasks.unreachable.delay().get(timeout=20)
    assert bench.effects() == ["unreachable"] * 4


def test_a_failure_reaches_the_caller_and_the_dead_letters_where_they_are_kept(bench):
    with bench.worker("-c", "1", "--dead-letter", f"{bench.queue}={bench.queue}.dead:5:keep"):
        with pytest.raises(ValueError, match="it broke"):
            tasks.fails.delay("it broke").get(timeout=20)
        [letter] = wait_for("a dead letter", bench.dead)
    assert letter.headers[DEAD_HEADER]["reason"] == "TaskFailed"
    assert letter.headers[DEAD_HEADER]["exception"] == "ValueError"
    assert "it broke" in letter.headers[DEAD_HEADER]["traceback"]


def test_without_keep_a_failed_task_leaves_no_dead_letter(bench):
    with bench.worker("-c", "1"):
        with pytest.raises(ValueError, match="gone"):
            tasks.fails.delay("gone").get(timeout=20)
        wait_for("settled", bench.empty)
    assert not bench.dead()


def test_calling_a_task_that_fails_from_the_command_line_says_so_in_one_line(bench):
    with bench.worker("-c", "1"):
        called = ("call", "tests.worker.tasks_for_tests.fails", "-a", '["it broke"]', "-Q", bench.queue, "--wait", "20")
        done = run_command(*called, environ=bench.environ)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("failed: ValueError: it broke")
    assert "Traceback" not in done.stderr


@pytest.mark.parity("F6")
def test_ignore_settles_and_stores_nothing(bench):
    with bench.worker("-c", "1"):
        result = tasks.ignores.delay()
        wait_for("it ran", bench.effects)
        wait_for("settled", bench.empty)
    assert result.state == "PENDING"
    with pytest.raises(TimeoutError):
        result.get(timeout=0)


@pytest.mark.parity("F4", "F5")
def test_reject_without_requeue_goes_to_the_dead_letters_and_with_it_comes_again(bench):
    with bench.worker("-c", "1"):
        tasks.rejects.delay(requeue=False)
        [letter] = wait_for("a dead letter", bench.dead)
        assert letter.headers[DEAD_HEADER]["message"] == "not for me"
        tasks.rejects.delay(requeue=True)
        wait_for("the second try", lambda: len(bench.effects()) == 3)
        wait_for("settled", bench.empty)
    assert bench.effects() == ["rejects 0 False", "rejects 0 False", "rejects 1 True"]


def test_system_exit_in_a_task_fails_the_task_and_not_the_worker(bench):
    with bench.worker("-c", "1") as worker:
        worker.ready()
        before = worker.children()
        result = tasks.exits.delay()
        assert wait_for("failed", result.failed)
        assert worker.children() == before


def test_a_result_that_json_cannot_hold_is_a_failure_with_that_reason(bench):
    with bench.worker("-c", "1"), pytest.raises(TypeError, match="JSON"):
        tasks.returns_what_json_cannot_hold.delay().get(timeout=20)


@pytest.mark.parity("A10")
def test_an_unknown_task_is_parked_and_never_dropped(bench):
    bench.app.send_task("nobody.knows", queue=bench.queue)
    with bench.worker("-c", "1") as worker:
        wait_for("parked", lambda: "it waits" in worker.log)
        wait_for("reported", lambda: [report.unknown_tasks for report in bench.reports()] == [("nobody.knows",)])
        if bench.counts_all:
            wait_for("in the delayed store", lambda: bench.depth().delayed == 1)


def test_garbage_goes_to_the_dead_letters_and_the_next_task_runs(bench):
    from longshore.brokers.port import Outgoing
    from longshore.message import Message

    bench.app.broker.send([Outgoing(bench.queue, Message(b"\xffgarbage", {"task": "x", "id": "1"}, {}))])
    with bench.worker("-c", "1"):
        assert tasks.add.delay(1, 1).get(timeout=20) == 2
        [letter] = wait_for("a dead letter", bench.dead)
    assert letter.headers[DEAD_HEADER]["reason"] == "Undecodable"


@pytest.mark.parity("C3")
def test_a_countdown_waits_in_the_broker(bench):
    with bench.worker("-c", "1"):
        result = tasks.add.apply_async((1, 2), countdown=0.3)
        assert bench.depth().delayed == (1 if bench.counts_all else None)
        assert result.get(timeout=20) == 3


# -- dying ---------------------------------------------------------------------------------------------------------


@pytest.mark.parity("A5", "F2")
def test_a_late_acked_task_runs_again_when_its_process_is_killed(bench):
    go = bench.folder / "go"
    with bench.worker("-c", "1") as worker:
        tasks.slow.delay("a", str(go))
        first = wait_for("started", bench.effects)[0]
        killed(worker, int(first.split()[2]))
        go.touch()
        wait_for("the second run ends", lambda: "end a" in bench.effects())
        wait_for("settled", bench.empty)
    starts = [line for line in bench.effects() if line.startswith("start")]
    assert [line.split()[3] for line in starts] == ["0", "1"], "the killed run counts as a started execution"


@pytest.mark.parity("F1")
def test_an_early_acked_task_that_started_never_runs_again(bench):
    go = bench.folder / "go"
    with bench.worker("-c", "1") as worker:
        tasks.slow_early.delay("a", str(go))
        first = wait_for("started", bench.effects)[0]
        killed(worker, int(first.split()[2]))
        assert tasks.add.delay(1, 1).get(timeout=20) == 2, "the worker goes on"
        assert bench.empty()
    assert len([line for line in bench.effects() if line.startswith("start")]) == 1


@pytest.mark.parity("F1")
def test_with_a_killed_process_few_early_acked_tasks_are_lost_and_none_starts_twice(bench):
    """Short ones are acknowledged up to 16 at a time: what was acknowledged with the one that ended it is lost."""
    calls = [(tasks.early, (number,)) for number in range(400)]
    bench.app.send_many(calls[:200])
    tasks.early.delay(-1, deadly=True)
    bench.app.send_many(calls[200:])
    with bench.worker("-c", "1", "-l", "warning"):
        wait_for("the last one ran", lambda: "early 399" in bench.effects())
        wait_for("settled", bench.empty)
    ran = bench.effects()
    assert len(set(ran)) == len(ran), "none is started twice"
    assert 401 - (GROUP - 1) <= len(ran) <= 401


@pytest.mark.parity("F3")
def test_one_poison_task_among_innocents_is_the_only_dead_letter(bench):
    calls = [(tasks.innocent, (number,)) for number in range(200)]
    calls.insert(100, (tasks.poison, ()))
    bench.app.send_many(calls)
    with bench.worker("-c", "1", "-l", "warning"):
        [letter] = wait_for("the poison is dead", bench.dead, 60)
        innocents = {f"innocent {number}" for number in range(200)}
        wait_for("all innocents ran", lambda: innocents <= set(bench.effects()) and bench.empty(), 60)
        assert len(bench.dead()) == 1
    assert letter.headers["task"].endswith("poison")
    assert letter.headers[DEAD_HEADER]["reason"] == "MaxDeliveriesExceeded"
    assert bench.effects().count("poison") == 5


def test_when_the_supervisor_is_killed_its_children_go_and_their_claims_come_back(bench):
    go = bench.folder / "go"
    with bench.worker("-c", "2") as worker:
        tasks.slow.delay("a", str(go))
        wait_for("started", bench.effects)
        children = worker.children()
        worker.kill()
        wait_for("children gone", lambda: all(map(is_gone, children)), 1.0)
    go.touch()
    with bench.worker("-c", "1"):
        wait_for("run again", lambda: "end a" in bench.effects())


# -- draining ------------------------------------------------------------------------------------------------------


def test_sigterm_finishes_what_runs_and_leaves_the_rest(bench):
    go = bench.folder / "go"
    with bench.worker("-c", "1") as worker:
        tasks.slow.delay("a", str(go))
        wait_for("started", bench.effects)
        tasks.slow.delay("b", str(go))
        worker.process.send_signal(signal.SIGTERM)
        wait_for("it says that it drains", lambda: "draining" in worker.log)
        threading.Timer(0.05, go.touch).start()
        assert worker.process.wait(20) == 0
    assert [line.split()[0:2] for line in bench.effects()] == [["start", "a"], ["end", "a"]]
    assert bench.depth().ready == 1
    assert not bench.depth().leased


def test_after_the_drain_timeout_the_task_is_killed_and_goes_back(bench):
    with bench.worker("-c", "1", "--drain-timeout", "0.2") as worker:
        tasks.slow.delay("a", str(bench.folder / "never"))
        wait_for("started", bench.effects)
        worker.terminate()
    assert bench.depth().ready == 1
    assert not bench.depth().leased


def test_an_idle_worker_ends_at_once(bench):
    with bench.worker("-c", "2") as worker:
        worker.ready()
        assert worker.terminate(timeout=5) == 0


def test_waiting_for_a_result_inside_a_task_is_refused(bench):
    task = tasks.app.tasks["tests.worker.tasks_for_tests.add"]

    token = current_run.set(SimpleNamespace(request=Request(called_directly=False)))
    try:
        with pytest.raises(ImproperlyConfigured, match="deadlock"):
            task.AsyncResult("x").get()
    finally:
        current_run.reset(token)
