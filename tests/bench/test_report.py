"""The report says what the raw figures say: medians, ratios, met and missed targets, and what was not measured."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench import curve_report, curves, plots, report
from tests.bench.environments import REQUIREMENTS
from tests.bench.raw import BASELINES
from tests.bench.report import judge, medians, number
from tests.bench.rows import ROWS, Target
from tests.bench.run import FULL, MEDIUM, TINY, estimate
from tests.bench.systems import SYSTEMS, Job
from tests.bench.trials import Invalid, percentile, rate_of


def contender(*values: float, **others: Any) -> dict[str, Any]:
    return {"trials": [{"value": value} for value in values], "failures": [], **others}


@pytest.mark.parametrize(
    ("target", "ours", "others", "met", "words"),
    [
        (Target(40_000, "dramatiq", 8000), 41_000, {}, True, "met: ≥ 40,000"),
        (Target(40_000, "dramatiq", 8000), 30_000, {"dramatiq": 4000}, True, "by the ratio to dramatiq"),
        (Target(40_000, "dramatiq", 8000), 30_000, {"dramatiq": 8000}, False, "missed by 25%"),
        (Target(40_000), 30_000, {"dramatiq": 1}, False, "missed by 25%"),
        (Target(factor=0.75, of="raw"), 80, {"raw": 100}, True, "(0.75 x raw)"),
        (Target(factor=0.75, of="raw"), 60, {"raw": 100}, False, "missed by 20%"),
        (Target(factor=0.75, of="raw"), 60, {}, None, "raw was not measured"),
        (Target(1.0, lower=True), 0.5, {}, True, "met: ≤ 1.00"),
        (Target(1.0, lower=True), 1.5, {}, False, "missed by 50%"),
        (Target(1.0, lower=True), 0.0, {}, True, "met"),
        (Target(1.0, lower=True), None, {}, None, "not measured"),
        (None, 5.0, {}, None, "stated"),
    ],
)
def test_a_target_is_met_or_missed_by_how_much(target, ours, others, met, words):
    judgment = judge(target, ours, others)
    assert judgment.met is met
    assert words in judgment.text


def test_the_median_is_of_valid_trials_only_and_nobody_without_any_has_one():
    found = medians({"a": contender(3, 1, 100), "b": contender()}, "value")
    assert found == {"a": 3}


def figures(**contenders: Any) -> dict[str, Any]:
    return {"rows": [{"id": "noop-1-redis", "contenders": contenders}]}


def test_the_table_names_the_best_peer_and_the_ratio():
    line = report.table(figures(longshore=contender(50_000), dramatiq=contender(5000), huey=contender(4000)))
    assert "| 50,000 /s | dramatiq 5,000 | 10.0 | met: ≥ 40,000 |" in line


def test_a_failure_of_ours_is_shown_as_one():
    failed = {"trials": [], "failures": ["99 runs of 100 tasks"]}
    assert "failed: 99 runs of 100 tasks" in report.table(figures(longshore=failed, huey=contender(4000)))


def test_a_row_that_was_left_out_says_why():
    table = report.table({"rows": [{"id": "noop-1-redis", "left_out": "no Redis here", "contenders": {}}]})
    assert "left out: no Redis here" in table


def test_baselines_are_not_drawn_among_the_systems():
    rows = [{"id": "noop-1-redis", "contenders": {"longshore": contender(5), "raw RPOP": contender(9)}}]
    drawn = plots.panels({"rows": rows})
    assert drawn[0]["rows"] == {"noop-1-redis": {"longshore": 5}}


@pytest.mark.parametrize(("value", "text"), [(12_345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23")])
def test_figures_are_written_for_people(value, text):
    assert number(value) == text


def test_the_rate_leaves_the_warm_up_out():
    seen = [(0.0, 0), (5.0, 20), (6.0, 60), (7.0, 100)]
    assert rate_of(seen, 100) == pytest.approx(40)


def test_a_rate_without_time_is_invalid():
    with pytest.raises(Invalid, match="too few"):
        rate_of([(0.0, 0), (1.0, 100)], 100)


def test_percentiles():
    assert percentile([float(n) for n in range(101)], 99) == pytest.approx(99)


def test_each_row_names_systems_that_can_take_part_and_baselines_that_exist():
    for row in ROWS:
        for name in (*row.systems, *row.quick):
            assert row.broker in SYSTEMS[name].brokers, (row.id, name)
        assert set(row.quick) <= set(row.systems), row.id
        assert all(BASELINES[name][0] == row.broker for name in row.raw), row.id
        for measure in row.measures:
            named = {measure.target.of, measure.target.peer} - {None} if measure.target else set()
            assert named <= {*row.systems, *row.raw}, row.id


def test_the_names_of_rows_are_unique():
    assert len({row.id for row in ROWS}) == len(ROWS)


def test_each_environment_is_pinned_without_addresses():
    for name in {system.environment for system in SYSTEMS.values()} - {"longshore"} | {"plots"}:
        lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()[1:]
        assert lines
        assert all("==" in line and "://" not in line for line in lines), name


def test_a_command_is_made_for_every_system():
    for system in SYSTEMS.values():
        for broker in system.brokers:
            assert all(system.commands(Job(broker, processes=2, url="x")))


def test_a_run_says_how_long_it_takes_and_stays_within_its_time():
    assert MEDIUM.budget_seconds is not None
    assert estimate(TINY) < estimate(MEDIUM) <= MEDIUM.budget_seconds < estimate(FULL)


def point(curve: str, series: str, x: float | str, **measured: Any) -> dict[str, Any]:
    return {"curve": curve, "series": series, "x": x, **measured}


def curves_of(*points: dict[str, Any]) -> dict[str, Any]:
    return {"started": "now", "machine": {"commit": "c"}, "load_before": 0.1, "load_after": 0.2, "points": list(points)}


def test_a_curve_is_a_table_with_a_column_for_each_broker():
    text = curve_report.section(curves_of(
        point("backlog", "redis", 1000, value=20.0), point("backlog", "sqlite", 1000, value=30.0),
        point("backlog", "redis", 1_000_000, failure="it broke"), point("variant", "redis", "TLS", value=9, sends=5),
    ))  # fmt: skip
    assert "| 1,000 | 20.0 | 30.0 |" in text
    assert "| 1,000,000 | failed: it broke |  |" in text
    assert "| redis | TLS | 9.00 |" in text


def test_a_curve_is_drawn_from_the_points_that_were_measured():
    drawn = curve_report.panels(curves_of(point("queues", "redis", 1, value=9, p50=1), point("queues", "redis", 10)))
    lines = next(panel for panel in drawn if panel["file"] == "bench-queues")["lines"]
    assert [shown["series"] for shown in lines.values()] == [{"redis": [[1, 9]]}, {"redis": [[1, 1]]}]


def test_each_curve_is_shown_and_drawn_by_a_key_of_its_own():
    assert {shown.curve for shown in curve_report.SHOWN} == set(curves.CURVES)
    drawn = {key for _, keys in curve_report.PICTURES.values() for key in keys}
    assert drawn <= {(shown.curve, shown.key) for shown in curve_report.SHOWN}


def test_what_somebody_wrote_stands_in_the_document_between_targets_and_contenders():
    bare: dict[str, Any] = {
        **figures(longshore=contender(50_000)), "started": "now", "load_before": 0.1, "load_after": 0.1, "settings": {},
        "machine": dict.fromkeys(("commit", "processor", "cpus", "memory_gb", "kernel", "python", "redis", "rabbitmq",
                                  "sqlite"), "x"),
        "plan": {"rounds": 5, "seconds": 1.0}, "baselines": {}, "message_bytes": {}, "versions": {},
    }  # fmt: skip
    text = report.document(bare, "## Where the time goes\n\nInto JSON.\n", "## Curves\n")
    parts = ["## Targets", "1 met, 0 missed.", "## Where the time goes", "## Curves", "## Every contender"]
    assert sorted(parts, key=text.index) == parts
