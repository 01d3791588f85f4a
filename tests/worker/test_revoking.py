"""Revoking and terminating: what waits does not run, what runs is ended, and nobody else's task is lost by it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from longshore.core.settle import REVOKED
from longshore.exceptions import TaskRevokedError, TimeLimitExceeded
from tests.support.workers import wait_for
from tests.worker import tasks_for_tests as tasks

ON_SQLITE = pytest.mark.parametrize("servers", ["sqlite"], indirect=True)


def hearing(bench):
    """The worker hears commands by now."""
    wait_for("it hears", lambda: bench.app.control.ping(timeout=0.3))


def starts(bench, word):
    return [line for line in bench.effects() if line.startswith(f"start {word}")]


@pytest.mark.parity("C4")
def test_a_revoked_task_does_not_run(bench):
    go = bench.folder / "go"
    with bench.worker("-c", "1", "--ack-policy", "late") as worker:
        hearing(bench)
        tasks.slow.delay("first", str(go))
        wait_for("it runs", bench.effects)
        waiting, other = tasks.add.delay(1, 1), tasks.add.delay(2, 2)
        waiting.revoke()
        assert wait_for("told at once", lambda: waiting.state == REVOKED)
        assert bench.app.control.inspect().revoked() == {
            name: [waiting.id] for name in bench.app.control.inspect().ping()
        }
        go.touch()
        assert other.get(timeout=20) == 4
        wait_for("settled", bench.empty)
        assert f"[{waiting.id}] was revoked" in worker.log
    with pytest.raises(TaskRevokedError, match="revoked"):
        waiting.get(timeout=1)
    assert "add 1 1" not in bench.effects()


@pytest.mark.parity("I3")
def test_revocations_outlive_all_workers_where_there_is_a_store(bench):
    if bench.app.broker.capabilities.name == "rabbitmq":
        assert bench.app.has_store, "the results are in SQLite here, which is a store, too"
    waiting = tasks.add.delay(1, 1)
    with bench.worker("-c", "1", "-Q", "another-queue"):
        hearing(bench)
        waiting.revoke()
    assert bench.depth().ready == 1
    with bench.worker("-c", "1"):
        assert tasks.add.delay(2, 2).get(timeout=20) == 4
        wait_for("settled", bench.empty)
    assert bench.effects() == ["add 2 2"]
    assert waiting.state == REVOKED


def test_a_revoked_task_that_waits_for_its_time_is_revoked_when_it_is_due(bench):
    with bench.worker("-c", "1", "--ack-policy", "late") as worker:
        hearing(bench)
        result = tasks.add.apply_async((1, 1), eta=datetime.now(UTC) + timedelta(seconds=1.5))
        result.revoke()
        wait_for("it was due", lambda: f"[{result.id}] was revoked" in worker.log)
        wait_for("settled", bench.empty)
    assert bench.effects() == []


def test_tasks_are_revoked_by_their_stamps(bench):
    def stamped(number, customer):
        stamps = {"stamped_headers": ["customer"], "stamps": {"customer": [customer]}}
        message = bench.app.outgoing(tasks.add.name, (number, 0), {}, queue=bench.queue)
        bench.app.broker.send([type(message)(message.queue, message.message.with_headers(stamps))])

    with bench.worker("-c", "1", "--ack-policy", "late"):
        hearing(bench)
        bench.app.control.revoke_by_stamped_headers({"customer": ["a", "b"]}, reply=True, timeout=2, limit=1)
        for number, customer in enumerate("abc"):
            stamped(number, customer)
        wait_for("settled", lambda: bench.effects() and bench.empty())
    assert bench.effects() == ["add 2 0"]


TABLE = [("processes", "gil"), ("processes", "io"), ("threads", "io"), ("asyncio", "waits"), ("asyncio", "cpu")]
SAMPLE = [("processes", "io"), ("asyncio", "cpu")]
KINDS = [("sqlite", *row) for row in TABLE] + [(broker, *row) for broker in ("redis", "rabbitmq") for row in SAMPLE]


@pytest.mark.parametrize(("servers", "mode", "kind"), KINDS, indirect=["servers"])
def test_terminate_ends_a_running_task(bench, mode, kind):
    with bench.worker("--execution", mode, "-c", "2"):
        hearing(bench)
        result = getattr(tasks, kind).delay(30)
        wait_for("it runs", lambda: starts(bench, kind))
        began = time.monotonic()
        result.revoke(terminate=True, signal="SIGKILL")
        with pytest.raises(TaskRevokedError, match=r"terminated|revoked"):  # who revokes may store it first
            result.get(timeout=20)
        assert time.monotonic() - began < 3
        assert tasks.add.delay(1, 1).get(timeout=20) == 2, "the worker goes on"
        wait_for("settled", bench.empty)
    assert len(starts(bench, kind)) == 1
    assert f"end {kind}" not in bench.effects()


@ON_SQLITE
def test_a_coroutine_is_cancelled_and_its_neighbours_notice_nothing(bench):
    go = bench.folder / "go"
    with bench.worker("--execution", "asyncio", "-c", "3") as worker:
        hearing(bench)
        neighbour, result = tasks.slow.delay("a", str(go)), tasks.waits.delay(30)
        wait_for("both run", lambda: len(bench.effects()) == 2)
        [child] = worker.children()
        result.revoke(terminate=True)
        with pytest.raises(TaskRevokedError, match=r"terminated|revoked"):  # who revokes may store it first
            result.get(timeout=20)
        go.touch()
        assert neighbour.get(timeout=20) == "a"
        assert worker.children() == [child]
    assert len(starts(bench, "a")) == 1


def test_an_early_acknowledged_task_that_is_terminated_is_revoked(bench):
    with bench.worker("-c", "1"):
        hearing(bench)
        result = tasks.slow_early.delay("a", str(bench.folder / "never"))
        wait_for("it runs", bench.effects)
        result.revoke(terminate=True)
        with pytest.raises(TaskRevokedError, match=r"terminated|revoked"):  # who revokes may store it first
            result.get(timeout=20)
        wait_for("settled", bench.empty)


@ON_SQLITE
def test_what_is_unknown_here_is_revoked_all_the_same(bench):
    with bench.worker("-c", "1") as worker:
        hearing(bench)
        [reply] = bench.app.control.revoke("nobody", terminate=True, reply=True, timeout=2, limit=1)
        assert list(reply.values()) == [{"ok": "terminate: tasks unknown"}]
        assert tasks.add.delay(1, 1).get(timeout=20) == 2
        assert "died" not in worker.log


# -- nobody else's task is lost ------------------------------------------------------------------------------------


@pytest.mark.parity("F3")
@pytest.mark.parametrize("how", ["limit", "terminate"])
def test_with_a_full_read_ahead_only_the_culprit_is_ended(bench, how):
    """The culprit's name is measured as short, so that a hundred others are claimed with it."""
    calls = [(tasks.sometimes_long, (number, 0)) for number in range(150)]
    calls.insert(75, (tasks.sometimes_long, ("culprit", 30)))
    bench.app.send_many([(tasks.sometimes_long, (-number, 0)) for number in range(1, 200)])
    results = bench.app.send_many(calls, time_limit=0.6 if how == "limit" else None)
    culprit = results[75]
    with bench.worker("-c", "1", "--ack-policy", "late", "-l", "warning"):
        if how == "terminate":
            wait_for("the culprit runs", lambda: "begin culprit" in bench.effects(), 60)
            hearing(bench)
            culprit.revoke(terminate=True)
        with pytest.raises(TimeLimitExceeded if how == "limit" else TaskRevokedError):
            culprit.get(timeout=60)
        expected = {f"begin {number}" for number in range(-199, 150) if number != 0} | {"begin 0"}
        wait_for("all others ran", lambda: expected <= set(bench.effects()) and bench.empty(), 60)
    assert bench.effects().count("begin culprit") == 1
    assert len(bench.effects()) - len(expected) - 1 <= 100, "duplicates are at most the read-ahead"
