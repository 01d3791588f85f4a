"""Which time limits hold for a call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.limits import Limits, check_limits, read_limits
from longshore.core.protocol import build_message, parse_call
from longshore.exceptions import MessageError

SECONDS = st.none() | st.floats(0.001, 1e6)


@given(SECONDS, SECONDS)
def test_what_a_call_says_arrives_hard_first(hard, soft):
    message = build_message("t", task_id="1", time_limit=hard, soft_time_limit=soft)
    assert message.headers["timelimit"] == [hard, soft]
    assert (parse_call(message).timelimit or Limits()) == Limits(hard, soft)


@pytest.mark.parametrize(
    ("said", "own", "holds"),
    [
        (Limits(), Limits(9, 8), Limits(9, 8)),
        (Limits(5), Limits(9, 8), Limits(5, 8)),
        (Limits(None, 3), Limits(9, 8), Limits(9, 3)),
        (Limits(2, 1), Limits(), Limits(2, 1)),
    ],
)
def test_the_call_wins_over_the_task(said, own, holds):
    assert said.over(own) == holds


def test_no_limit_is_false_and_a_zero_of_celery_is_none():
    assert not Limits()
    assert Limits(soft=1.0)
    assert read_limits([0, 0]) == Limits()


@pytest.mark.parametrize("header", ["30", [1], [1, 2, 3], {"hard": 1}, ["1", None], [-1, None], [True, 1], [1e999, 1]])
def test_what_is_no_limit_is_said_so(header):
    with pytest.raises(MessageError, match="timelimit"):
        read_limits(header)


@pytest.mark.parametrize(("hard", "soft"), [(-1, None), (None, float("nan")), (1, 2)])
def test_limits_that_nobody_can_mean_are_refused(hard, soft):
    with pytest.raises(ValueError, match="time_limit"):
        check_limits(hard, soft)
