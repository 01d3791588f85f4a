"""Runs are counted by task, over processes that come and go, and shown where metrics are asked for."""

from __future__ import annotations

import urllib.request

import pytest

from longshore.core.settle import Failed, Failure, Ignored, Succeeded
from longshore.worker.board import Board
from longshore.worker.tally import MOST_TASKS, Tallies
from tests.support.redis import free_port
from tests.support.workers import wait_for
from tests.worker import tasks_for_tests as tasks

FAILED = Failed(Failure("ValueError", "builtins", [], ""))


def test_rows_are_summed_by_task_and_state():
    board = Board(2)
    board.count_tasks(["a", "b"])
    board.pen(0).tally.note("a", Succeeded(1), 2.0, overhead=False)
    board.pen(1).tally.note("a", FAILED, 1.0, overhead=False)
    board.pen(1).tally.note("a", Ignored(), 0.5, overhead=False)
    [total] = board.tallies.totals(board.slots)
    assert (total.task, total.runs, total.run_seconds, total.overhead_seconds) == ("a", (1, 1, 0, 1), 3.5, 0.0)


def test_a_successor_counts_on():
    tallies = Tallies(1, ["a"])
    tallies.tally(0).note("a", Succeeded(None), 1.0, overhead=False)
    tallies.tally(0).note("a", Succeeded(None), 1.0, overhead=False)
    assert tallies.totals(1)[0].runs[0] == 2


def test_what_is_not_the_run_is_overhead():
    tallies = Tallies(1, ["a"])
    tally = tallies.tally(0)
    tally.begin()
    tally.note("a", Succeeded(None), 0.0, overhead=True)
    assert tallies.totals(1)[0].overhead_seconds > 0


def test_tasks_beyond_the_number_are_counted_together():
    tallies = Tallies(1, [f"t{number}" for number in range(MOST_TASKS + 2)])
    for name in (f"t{MOST_TASKS}", f"t{MOST_TASKS + 1}", "unknown"):
        tallies.tally(0).note(name, Succeeded(None), 1.0, overhead=False)
    [total] = tallies.totals(1)
    assert (total.task, total.runs[0]) == ("(others)", 3)


@pytest.mark.parity("I7")
@pytest.mark.parametrize("execution", ["processes", "threads"])
def test_metrics_show_tasks(bench, execution):
    port = free_port()
    with bench.worker("-c", "2", "--http-port", str(port), "--execution", execution) as worker:
        worker.ready()
        assert tasks.add.delay(1, 2).get(timeout=20) == 3
        tasks.fails.delay("no").get(timeout=20, propagate=False)

        def shown():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            return text if 'state="failed"' in text and 'state="succeeded"' in text else None

        text = wait_for("both are counted", shown)
    assert f'longshore_task_runs_total{{task="{tasks.add.name}",state="succeeded"}} 1' in text
    assert f'longshore_task_runs_total{{task="{tasks.fails.name}",state="failed"}} 1' in text
    assert f'longshore_task_run_seconds_total{{task="{tasks.add.name}"}} ' in text
    assert f'longshore_task_overhead_seconds_total{{task="{tasks.add.name}"}} ' in text
    assert "longshore_worker_slots 2" in text
