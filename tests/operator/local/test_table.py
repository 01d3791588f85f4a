"""The table can be read in 80 columns, and says why."""

import io

import pytest
from rich.console import Console

from longshore_operator.local.display import Lines
from longshore_operator.local.snapshot import (
    EventRow,
    PoolRow,
    QueueRow,
    ScheduleRow,
    Snapshot,
    failed_pools,
    unfinished,
)
from longshore_operator.local.table import progress_line, render

NOW = 1_000_000.0
WHY = "1785 tasks at 200 a replica"
FULL = Snapshot(
    at=NOW,
    started_at=NOW - 5,
    queues=(
        QueueRow("measure", 1785, 4, 0, 9, -211.0),
        QueueRow("a-queue-with-quite-a-long-name.of-some-team", None, None, None, None),
    ),
    pools=(PoolRow("codestats", 4, 4, 3, 4, 4, 1234, 205.4, "Backlog", WHY),),
    schedules=(ScheduleRow("snapshot", "every 2s", "codestats.tasks.snapshot", NOW - 1, NOW + 1, 3),),
    events=(EventRow(NOW, "Warning", "WorkerPool/codestats", "CrashLoopBackOff", "app does not import " * 9),),
)


def drawn(snapshot: Snapshot, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(snapshot))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_fits_the_terminal(width):
    lines = drawn(FULL, width)
    assert max(map(len, lines)) <= width
    assert len(lines) == 3 + 3 + 2 + 1, "one line each, and one that says why"


def test_shows_what_matters_in_80_columns():
    text = "\n".join(drawn(FULL, 80))
    figures = ("1,785", "3/4", "4/4", "1,234", "205", "-211", "in 1s", "every 2s")
    for what in (*figures, f"Backlog: {WHY}", "CrashLoopBackOff"):
        assert what in text
    assert "?" in text, "unknown is not 0"


def test_a_problem_is_shown_in_full():
    problem = "app 'nope:app' does not import: No module named 'nope'; looked in /srv/shop and PYTHONPATH"
    text = " ".join(" ".join(drawn(Snapshot(NOW, NOW, pools=(PoolRow("p", 1, 1, problem=problem),)), 80)).split())
    for word in problem.split():
        assert word in text


def test_the_line_for_a_log():
    assert progress_line(FULL) == (
        "measure: 1785 ready, 4 leased | a-queue-with-quite-a-long-name.of-some-team: ? ready, ? leased, ? delayed | "
        f"codestats: 3/4 workers, 4 busy, 1234 done (Backlog: {WHY})"
    )


def test_a_log_gets_a_line_for_each_event_and_each_decision_but_not_for_each_look():
    stream = io.StringIO()
    lines = Lines(stream)
    busy = Snapshot(NOW + 1, NOW, FULL.queues, (PoolRow("codestats", 4, 4, 4, 4, 4, 1300, 1.0, "Backlog", "x"),))
    zero = Snapshot(NOW + 2, NOW, FULL.queues, (PoolRow("codestats", 0, reason="Idle"),))
    for snapshot in (FULL, FULL, busy, zero):
        lines.show(snapshot)
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["Warning", "measure:", "measure:"]


EMPTY = QueueRow("q", 0, 0, 0, 5)


@pytest.mark.parametrize(
    ("queues", "schedules", "waits_for"),
    [
        pytest.param((EMPTY,), (), [], id="idle; dead letters do not count"),
        pytest.param((QueueRow("q", 0, 0, 1),), (), ["queue q: 1 delayed"], id="delayed"),
        pytest.param((QueueRow("q", 0, 1, 0),), (), ["queue q: 1 leased"], id="leased"),
        pytest.param((QueueRow("q", None, 0, 0),), (), ["queue q: ? ready"], id="unknown is not empty"),
        pytest.param((QueueRow("q", 7, 0, 0, suspended=True),), (), [], id="suspended"),
        pytest.param((), (ScheduleRow("s", next=NOW + 9),), ["schedule s: first tick"], id="ticks soon"),
        pytest.param((), (ScheduleRow("s"),), ["schedule s: first tick"], id="not planned yet"),
        pytest.param((), (ScheduleRow("s", next=NOW + 11),), [], id="ticks later"),
        pytest.param((), (ScheduleRow("s", next=NOW + 12, ticks=1),), [], id="has ticked"),
        pytest.param((), (ScheduleRow("s", next=NOW + 1, suspended=True),), [], id="suspended schedule"),
        pytest.param((), (ScheduleRow("s", problem="no such zone"),), [], id="refused schedule"),
    ],
)
def test_what_until_idle_waits_for(queues, schedules, waits_for):
    assert unfinished(Snapshot(NOW, NOW, queues, (), schedules)) == waits_for


def test_which_pools_have_failed():
    good, bad = PoolRow("good"), PoolRow("bad", failed=True)
    assert failed_pools(Snapshot(NOW, NOW, pools=(good, bad))) == [bad]
