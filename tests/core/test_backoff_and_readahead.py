"""How long to wait, and how far to reach ahead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.backoff import reconnect_delay, retry_delay
from longshore.core.readahead import LIMIT, ReadAhead
from longshore.policy import RetryPolicy


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(1.0, [1, 2, 4, 8]), (3.0, [3, 6, 12, 24]), (0.5, [0.5, 1, 2, 4])],
)
def test_backoff_doubles_from_its_factor(factor, expected):
    policy = RetryPolicy(backoff=factor, jitter=False)
    assert [retry_delay(policy, retries, 0.7) for retries in range(4)] == expected


def test_without_backoff_the_default_delay_holds():
    assert retry_delay(RetryPolicy(), 3, 0.1) == 180.0


@pytest.mark.parity("E5")
@given(st.floats(0.01, 1e6), st.integers(0, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0, 1e5))
def test_a_delay_is_within_zero_and_the_maximum(factor, retries, draw, maximum):
    delay = retry_delay(RetryPolicy(backoff=factor, backoff_max=maximum), retries, draw)
    assert 0 <= delay <= maximum


@given(st.integers(0, 1000))
def test_reconnecting_waits_at_most_five_seconds(failures):
    assert 0 < reconnect_delay(failures) <= 5.0


def test_nothing_is_claimed_ahead_before_anything_was_measured():
    assert ReadAhead().limit() == 1
    assert not ReadAhead().is_short("t")


def test_micro_tasks_are_claimed_in_large_batches_and_long_ones_singly():
    ahead = ReadAhead()
    ahead.measured("quick", 20e-6)
    assert ahead.limit() == LIMIT
    ahead.measured("long", 3.0)
    assert ahead.limit() == 1
    assert ahead.is_short("quick")
    assert not ahead.is_short("long")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 100)), max_size=50))
def test_the_limit_stays_within_its_bounds(runs):
    ahead = ReadAhead()
    for name, seconds in runs:
        ahead.measured(name, seconds)
    assert 1 <= ahead.limit() <= LIMIT


def test_reset_forgets():
    ahead = ReadAhead()
    ahead.measured("quick", 1e-5)
    ahead.reset()
    assert ahead.limit() == 1


def test_one_run_that_was_slow_by_chance_does_not_end_the_read_ahead():
    ahead = ReadAhead()
    for _ in range(200):
        ahead.measured("quick", 40e-6)
    ahead.measured("quick", 2.4e-3)
    assert ahead.limit() == LIMIT
    assert ahead.is_short("quick")


def test_a_task_that_is_slow_more_often_than_one_time_in_twenty_is_known_for_it():
    ahead = ReadAhead()
    for number in range(2000):
        ahead.measured("mixed", 5e-3 if number % 5 == 0 else 40e-6)
    assert ahead.limit() < 10


def test_a_single_run_beyond_the_horizon_counts_at_once():
    ahead = ReadAhead()
    for _ in range(200):
        ahead.measured("quick", 40e-6)
    ahead.measured("quick", 0.5)
    assert ahead.limit() == 1
    assert not ahead.is_short("quick")
