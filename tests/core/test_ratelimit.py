"""Rates as they are written, and when a turn holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.ratelimit import (
    HORIZON_SECONDS,
    LATE_SECONDS,
    delay_without_turn,
    is_in_time,
    parse_rate,
)
from longshore.exceptions import ImproperlyConfigured


@pytest.mark.parametrize(
    ("text", "interval"),
    [("100/m", 0.6), ("10/s", 0.1), ("1000/h", 3.6), (5, 0.2), (0.5, 2.0), ("2", 0.5), (" 3 / m ", 20.0)],
)
def test_celerys_syntax(text, interval):
    assert parse_rate(text).interval == pytest.approx(interval)


@pytest.mark.parametrize("nothing", [None, "", 0, "0/m"])
def test_no_limit(nothing):
    assert parse_rate(nothing) is None


@pytest.mark.parametrize("wrong", ["fast", "10/d", "-1/s", "1/2/s", True, "/m"])
def test_anything_else_says_how_to_write_it(wrong):
    with pytest.raises(ImproperlyConfigured, match="100/m"):
        parse_rate(wrong)


@given(st.integers(1, 10**6), st.sampled_from("smh"))
def test_a_rate_reads_back_as_it_is_shown(count, unit):
    rate = parse_rate(f"{count}/{unit}")
    assert parse_rate(str(rate)).interval == pytest.approx(rate.interval, rel=1e-4)


@pytest.mark.parametrize(("rate", "batch"), [("100/m", 1), ("100/s", 1), ("1000/s", 10), ("20000/s", 200)])
def test_turns_are_taken_several_at_once_only_where_they_come_fast(rate, batch):
    assert parse_rate(rate).batch == batch


@given(st.floats(0, 1, exclude_max=True))
def test_whoever_has_no_turn_asks_again_before_the_given_turns_run_out(draw):
    assert 0 < delay_without_turn(draw) < HORIZON_SECONDS


def test_a_turn_holds_for_a_while():
    assert is_in_time(10.0, 10.0)
    assert is_in_time(10.0, 10.0 + LATE_SECONDS)
    assert is_in_time(10.0, 9.5), "the clock of another host may be behind"
    assert not is_in_time(10.0, 9.9 - LATE_SECONDS)
    assert not is_in_time(10.0, 10.1 + LATE_SECONDS)
