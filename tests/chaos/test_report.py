"""The page says what was measured, and keeps one row for each scenario and broker."""

from __future__ import annotations

from tests.chaos.outcome import Outcome, together
from tests.chaos.plan import Row
from tests.chaos.report import entry, line, merged, page

MACHINE = {"cpus": 2, "commit": "abc", "load before": 0.5, "load after": 1.5}


def row(scenario="kill", broker="redis", **changes):
    outcome = Outcome(cycles=200, tasks=200_000, lost=0, duplicates=12, bound=400, slowest=9.87, **changes)
    return Row(scenario, broker, seed=7, seconds=61.2, outcome=outcome)


def test_the_page_has_the_figures_and_the_findings():
    text = page([entry(row(findings=("2 lost: 1, 2",)), MACHINE), entry(row(broker="sqlite"), MACHINE)])
    assert "| kill | redis | 200 | 200,000 | 0 | 12 | 400 | 9.87 | 61 | 1 |" in text
    assert "- kill on redis: 2 lost: 1, 2" in text
    assert "0.5 to 1.5" in text


def test_a_new_row_replaces_the_old_one_and_keeps_the_order_of_the_plan():
    rows = [entry(row("poison"), MACHINE), entry(row(), MACHINE)]
    again = merged(merged([], rows[0]), rows[1])
    assert [one["scenario"] for one in again] == ["kill", "poison"]
    newer = merged(again, entry(row(findings=("x",)), MACHINE))
    assert [one["findings"] for one in newer] == [("x",), ()]


def test_lanes_are_summed_and_the_worst_is_kept():
    lanes = [
        Outcome(1, 10, 0, 2, 5, 1.0, figures={"a": 1}),
        Outcome(2, 20, 1, 3, 6, 3.0, 9.0, ("y",), {"a": 4, "b": 2}),
    ]
    assert together(lanes) == Outcome(3, 30, 1, 5, 11, 3.0, 9.0, ("y",), {"a": 4, "b": 2})


def test_a_line_says_how_it_went():
    assert line(row()).startswith("kill on redis: ok; 200 cycles")
    assert "1 FINDINGS" in line(row(findings=("x",)))
