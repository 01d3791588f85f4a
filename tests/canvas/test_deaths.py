"""A chord's body runs exactly once, whoever dies: parts in the middle of their run, whole processes, and whoever holds
the dispatch of the body, between any two steps.
"""

from __future__ import annotations

import os
import signal
import uuid
from functools import partial

import pytest

from longshore import chord, group
from longshore.core.chord import Part
from longshore.core.planning import plan
from tests.canvas import tasks_for_tests as tasks
from tests.support.workers import wait_for

WAIT = 60


@pytest.mark.parity("D6")
def test_the_body_runs_once_though_parts_die_and_run_again(bench):
    for number in range(0, 24, 5):
        (bench.folder / f"die-{number}").touch()
    with bench.worker("-c", "2", "--ack-policy", "late"):
        headers = [[tasks.part.s(n, str(bench.folder)) for n in range(k, k + 8)] for k in (0, 8, 16)]
        results = [chord(header, tasks.body.s()).apply_async() for header in headers]
        assert [result.get(timeout=WAIT) for result in results] == [8, 8, 8]
        wait_for("the queue is empty", bench.empty)
    assert not list(bench.folder.glob("die-*")), "every trap was sprung"
    assert sorted(bench.effects()) == sorted(f"body {list(range(k, k + 8))} 0" for k in (0, 8, 16))


@pytest.mark.parity("D6")
def test_the_body_runs_once_though_workers_are_killed_as_they_come(bench):
    """Killed at any moment: while a part runs, after it was counted, after the body was sent."""
    header = [tasks.part.s(n, str(bench.folder)) for n in range(30)]
    results = [chord(header, tasks.body.s()).apply_async() for _ in range(2)]
    with bench.worker("-c", "2", "--ack-policy", "late") as worker:
        worker.ready()
        for kills in range(5):
            wait_for("progress", partial(_have_ended, results, 10 * (kills + 1)), WAIT)
            for child in worker.children()[kills % 2 :][:1]:
                os.kill(child, signal.SIGKILL)
        assert [result.get(timeout=WAIT) for result in results] == [30, 30]
        wait_for("the queue is empty", bench.empty)
    assert bench.effects().count(f"body {list(range(30))} 0") == 2
    assert all(line.startswith(f"body {list(range(30))}") for line in bench.effects())


def _have_ended(results, wanted: int) -> bool:
    return sum(result.parent.completed_count() for result in results) >= wanted


def sent_by_hand(bench, size: int):
    """Start a chord of which only the last part is still to come; return what was planned."""
    made = plan(chord([tasks.add.s(n, n) for n in range(size)], tasks.record.s()), new_id=_ids())
    bench.app.canvases.start_chords(made.starts, anew=True)
    bench.app.publish([bench.app.canvases.outgoing(call) for call in made.calls[-1:]])
    return made


def _ids():
    return lambda: str(uuid.uuid4())


@pytest.mark.parity("D6")
def test_a_worker_that_died_after_it_claimed_the_dispatch_loses_nothing(bench):
    """Its part was counted and the body not sent: the part is delivered again, and goes on where the dead one was."""
    made = sent_by_hand(bench, 2)
    [start] = made.starts
    counted = [Part(start.group_id, call.options["task_id"], n, "SUCCESS", n + n) for n, call in enumerate(made.calls)]
    bench.app.backend.count_parts(counted, expires=60)
    with bench.worker("-c", "1"):
        assert bench.app.AsyncResult(made.result[0][0]).get(timeout=WAIT) == [0, 2]
        wait_for("the queue is empty", bench.empty)
    assert bench.effects() == ["record ([0, 2],)"]


@pytest.mark.parity("D6")
def test_a_worker_that_died_after_it_sent_the_body_makes_a_copy_that_does_not_run(bench):
    made = sent_by_hand(bench, 1)
    [start], [call] = made.starts, made.calls
    part = Part(start.group_id, call.options["task_id"], 0, "SUCCESS", 0)
    [whole] = bench.app.backend.count_parts([part], expires=60)
    bench.app.canvases.chord_ended(part, start.body, whole.parts)  # and it died before it could mark that
    with bench.worker("-c", "1"):
        assert bench.app.AsyncResult(made.result[0][0]).get(timeout=WAIT) == [0]
        wait_for("the queue is empty", bench.empty)
        tasks.record.delay("after").get(timeout=WAIT)
    assert bench.effects() == ["record ([0],)", "record ('after',)"]


CLAIM_SECONDS = 90
"""A part that meets another's claim of the dispatch is looked at again when that claim is over, after a minute."""


@pytest.mark.parity("D6")
def test_a_chord_that_follows_a_task_which_runs_again_is_one_chord(bench):
    """Its parts have the same ids, are counted once, and its body runs once."""
    made = plan(tasks.add.s(1, 1) | group(tasks.add.s(1), tasks.add.s(2)) | tasks.record.s(), new_id=_ids())
    twice = [bench.app.canvases.outgoing(call) for call in made.calls] * 2
    bench.app.publish(twice)
    with bench.worker("-c", "2"):
        assert bench.app.AsyncResult(made.result[0][0]).get(timeout=WAIT) == [3, 4]
        wait_for("the queue is empty", bench.empty, CLAIM_SECONDS)
    assert bench.effects() == ["record ([3, 4],)"]


def test_what_was_to_come_after_an_expired_task_is_revoked_with_it(bench):
    result = (tasks.add.s(1, 1).set(expires=-1) | tasks.add.s(1)).apply_async()
    with bench.worker("-c", "1"):
        wait_for("revoked", lambda: result.state == result.parent.state == "REVOKED", WAIT)
