"""Time limits in every execution mode, on every broker: what is interrupted, what is ended, what that costs others."""

from __future__ import annotations

import os
import signal
import time

import pytest

from longshore.core.settle import FAILURE
from longshore.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from longshore.message import DEAD_HEADER
from tests.support.workers import wait_for
from tests.worker import tasks_for_tests as tasks

ALL_MODES = pytest.mark.parametrize("mode", ["processes", "threads", "asyncio"])
ON_SQLITE = pytest.mark.parametrize("servers", ["sqlite"], indirect=True)
LONG = 30


def seconds_until_it_fails(result, error, timeout=20):
    """Return how long a caller waits for this failure."""
    began = time.monotonic()
    with pytest.raises(error):
        result.get(timeout=timeout)
    return time.monotonic() - began


def warm(bench):
    """The worker has started all that it starts; limits are measured from here."""
    tasks.add.delay(0, 0).get(timeout=30)


TABLE = [(mode, kind) for mode in ("processes", "threads", "asyncio") for kind in ("cpu", "io", "gil", "waits")]
SAMPLE = [("processes", "io"), ("threads", "gil"), ("asyncio", "waits")]
"""A broker changes nothing about how a task is interrupted, only what becomes of its message."""
HARD = [("sqlite", *row) for row in TABLE] + [(broker, *row) for broker in ("redis", "rabbitmq") for row in SAMPLE]


@pytest.mark.parity("F3", "I1")
@pytest.mark.parametrize(("servers", "mode", "kind"), HARD, indirect=["servers"])
def test_a_hard_limit_ends_whatever_runs(bench, mode, kind):
    with bench.worker("--execution", mode, "-c", "2") as worker:
        warm(bench)
        took = seconds_until_it_fails(getattr(tasks, kind).apply_async((LONG,), time_limit=0.8), TimeLimitExceeded)
        assert 0.7 <= took <= 1.8, worker.log
        assert tasks.add.delay(1, 1).get(timeout=20) == 2, "the worker goes on"
        wait_for("settled", bench.empty)
    assert len([line for line in bench.effects() if line.startswith(f"start {kind}")]) == 1, "it ran once"
    assert f"end {kind}" not in bench.effects()


INTERRUPTED = [
    ("processes", "cpu"),
    ("processes", "io"),
    ("processes", "waits"),
    ("threads", "cpu"),
    ("threads", "waits"),
    ("asyncio", "cpu"),
    ("asyncio", "waits"),
]


@ON_SQLITE
@pytest.mark.parametrize(("mode", "kind"), INTERRUPTED)
def test_a_soft_limit_is_raised_inside_the_task(bench, mode, kind):
    with bench.worker("--execution", mode, "-c", "2") as worker:
        warm(bench)
        before = worker.children()
        took = seconds_until_it_fails(
            getattr(tasks, kind).apply_async((LONG,), soft_time_limit=0.5), SoftTimeLimitExceeded
        )
        assert 0.4 <= took <= 1.5, worker.log
        assert f"soft {kind}" in bench.effects(), "the task saw it"
        assert worker.children() == before, "nobody died of it"


@ON_SQLITE
@pytest.mark.parametrize(("mode", "kind"), [("processes", "gil"), ("threads", "gil"), ("threads", "io")])
def test_a_soft_limit_waits_for_c_code_to_return(bench, mode, kind):
    with bench.worker("--execution", mode, "-c", "2"):
        warm(bench)
        took = seconds_until_it_fails(
            getattr(tasks, kind).apply_async((1.0,), soft_time_limit=0.3), SoftTimeLimitExceeded
        )
        assert took >= 0.3
    if mode != "threads":  # a thread may have left the task's own code when the lock is free to interrupt it
        assert f"soft {kind}" in bench.effects()


@ON_SQLITE
def test_a_task_may_catch_its_soft_limit_and_knows_its_limits(bench):
    with bench.worker("-c", "1"):
        assert tasks.catches_the_soft_limit.apply_async(time_limit=25).get(timeout=20) == [25, 0.2]


@ON_SQLITE
def test_what_the_call_says_wins_over_the_worker_and_a_fast_task_meets_no_limit(bench):
    with bench.worker("-c", "1", "--time-limit", "0.3", "--soft-time-limit", "0.2"):
        assert tasks.add.delay(1, 2).get(timeout=20) == 3
        assert tasks.io.apply_async((0.6,), time_limit=20, soft_time_limit=20).get(timeout=20) is None
        with pytest.raises(SoftTimeLimitExceeded):
            tasks.io.delay(LONG).get(timeout=20)


@pytest.mark.parametrize("mode", ["processes", "threads"])
def test_an_early_acknowledged_task_fails_by_its_limit_too(bench, mode):
    with bench.worker("--execution", mode, "-c", "1", "--dead-letter", f"{bench.queue}={bench.queue}.dead:5:keep"):
        warm(bench)
        result = tasks.slow_early.apply_async(("a", str(bench.folder / "never")), time_limit=0.5)
        assert seconds_until_it_fails(result, TimeLimitExceeded) <= 1.5
        [letter] = wait_for("a dead letter", bench.dead)
        wait_for("settled", bench.empty)
    assert letter.headers[DEAD_HEADER]["exception"] == "TimeLimitExceeded"
    assert len([line for line in bench.effects() if line.startswith("start a")]) == 1


def test_without_acknowledgement_on_timeout_the_message_is_kept(bench):
    task = tasks.app.tasks["tests.worker.tasks_for_tests.kept_on_timeout"]
    with bench.worker("-c", "1"):
        with pytest.raises(TimeLimitExceeded):
            task.delay().get(timeout=20)
        [letter] = wait_for("a dead letter", bench.dead)
    assert letter.headers[DEAD_HEADER]["reason"] == "TaskFailed"


@pytest.mark.parametrize("mode", ["threads", "asyncio"])
def test_the_neighbours_of_a_task_that_ends_its_process_run_again_uncounted(bench, mode):
    go = bench.folder / "go"
    with bench.worker("--execution", mode, "-c", "3"):
        warm(bench)
        neighbours = [tasks.slow.delay(name, str(go)) for name in "ab"]
        wait_for("they run", lambda: len(bench.effects()) == 3)
        with pytest.raises(TimeLimitExceeded):
            tasks.gil.apply_async((LONG,), time_limit=0.5).get(timeout=20)
        go.touch()
        assert [each.get(timeout=20) for each in neighbours] == ["a", "b"]
        wait_for("settled", bench.empty)
    starts = [line.split() for line in bench.effects() if line.startswith(("start a", "start b"))]
    assert [start[3] for start in starts] == ["0"] * 4, "nobody else's start counts"


# -- a process that dies -------------------------------------------------------------------------------------------


@pytest.mark.parity("F3", "I1")
def test_with_reject_on_worker_lost_false_a_task_whose_process_died_has_failed(bench):
    with bench.worker("-c", "1"), pytest.raises(WorkerLostError, match="signal 9"):
        tasks.dies_for_good.delay().get(timeout=20)
    assert bench.effects() == ["dies 0"]


def test_an_early_acknowledged_task_whose_process_died_has_failed_too(bench):
    with bench.worker("-c", "1"):
        result = tasks.slow_early.delay("a", str(bench.folder / "never"))
        started = wait_for("started", bench.effects)[0]
        os.kill(int(started.split()[2]), signal.SIGKILL)
        wait_for("failed", lambda: result.state == FAILURE)
    assert isinstance(result.result, WorkerLostError)


@ON_SQLITE
def test_a_task_that_acknowledged_itself_and_died_has_failed_too(bench):
    with bench.worker("-c", "1"), pytest.raises(WorkerLostError, match="signal 9"):
        tasks.acknowledges_and_dies.delay().get(timeout=20)
    assert bench.effects() == ["begun"]


@ON_SQLITE
@pytest.mark.parametrize("how", ["killed", "limited"])
def test_the_error_callback_of_an_early_acknowledged_task_is_called(bench, how):
    with bench.worker("-c", "1"):
        result = tasks.slow_early.apply_async(
            ("a", str(bench.folder / "never")),
            link_error=tasks.note_trouble.s().set(queue=bench.queue),
            time_limit=0.5 if how == "limited" else None,
        )
        started = wait_for("started", bench.effects)[0]
        if how == "killed":
            os.kill(int(started.split()[2]), signal.SIGKILL)
        wait_for("told", lambda: f"trouble {result.id}" in bench.effects())
    assert result.state == FAILURE


# -- per-child limits ----------------------------------------------------------------------------------------------


@ON_SQLITE
@ALL_MODES
def test_after_its_number_of_tasks_a_process_is_replaced(bench, mode):
    with bench.worker("--execution", mode, "-c", "1", "--max-tasks-per-child", "3", "--ack-policy", "late") as worker:
        results = bench.app.send_many([(tasks.pid, ())] * 10)
        pids = [result.get(timeout=30) for result in results]
        assert sorted(pids.count(pid) for pid in set(pids)) == [1, 3, 3, 3]
        wait_for("settled", bench.empty)
        assert "died" not in worker.log


def test_a_process_that_grew_is_replaced_after_the_task_and_what_it_had_claimed_goes_back(bench):
    with bench.worker("-c", "1", "--max-memory-per-child", "150000", "--ack-policy", "late") as worker:
        warm(bench)
        results = bench.app.send_many([(tasks.pid, ())] * 20 + [(tasks.grows, (200,))] + [(tasks.pid, ())] * 20)
        pids = [result.get(timeout=30) for result in results]
        assert len(set(pids)) == 2
        assert pids[20] == pids[0], "the task that grew it ended"
        wait_for("settled", bench.empty)
        assert "KiB of memory" in worker.log
        assert "died" not in worker.log
