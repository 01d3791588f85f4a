"""Setting conditions: one per type, and the time of the last change of status is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.api import Condition, ConditionType, Reason, get_condition, is_true, set_condition
from longshore_operator.api.conditions import CONDITION_TYPES, ConditionStatus

THEN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LATER = THEN + timedelta(seconds=90)


def ready(
    conditions: list[Condition], status: ConditionStatus, now: datetime, reason: str = Reason.OK, generation: int = 1
) -> list[Condition]:
    return set_condition(
        conditions, ConditionType.READY, status, reason, "because", observed_generation=generation, now=now
    )


def test_a_new_condition_is_of_now() -> None:
    (condition,) = ready([], "True", THEN)

    assert condition.to_wire() == {
        "type": "Ready",
        "status": "True",
        "reason": "Ok",
        "message": "because",
        "lastTransitionTime": "2026-11-21T12:00:00Z",
        "observedGeneration": 1,
    }


@pytest.mark.parametrize(
    ("status", "since"), [("True", THEN), ("False", LATER), ("Unknown", LATER)]
)  # fmt: skip
def test_only_another_status_is_a_transition(status: ConditionStatus, since: datetime) -> None:
    (condition,) = ready(ready([], "True", THEN), status, LATER, reason=Reason.SCALED_TO_ZERO, generation=2)

    assert condition.last_transition_time == since
    assert (condition.reason, condition.observed_generation) == ("ScaledToZero", 2)


def test_setting_the_same_again_changes_nothing() -> None:
    once = ready([], "True", THEN)

    assert ready(once, "True", LATER) == once


def test_the_others_stay_where_they_are() -> None:
    stalled = set_condition([], "Stalled", "False", "Ok", "", observed_generation=1, now=THEN)
    both = ready(stalled, "True", THEN)

    changed = ready(both, "False", LATER)

    assert [one.type for one in changed] == ["Stalled", "Ready"]
    assert changed[0] == both[0]
    assert both[1].status == "True", "the list that was given is not changed"


def test_asking_for_a_condition() -> None:
    conditions = ready([], "Unknown", THEN)

    assert get_condition(conditions, "Ready") is conditions[0]
    assert get_condition(conditions, "Stalled") is None
    assert not is_true(conditions, "Ready")
    assert is_true(ready(conditions, "True", LATER), ConditionType.READY)


def test_a_message_that_is_too_long_is_cut_not_refused() -> None:
    (condition,) = set_condition([], "Ready", "False", "Invalid", "x" * 40_000, observed_generation=1, now=THEN)

    assert (len(condition.message), condition.message[-4:]) == (32_768, "x...")


def test_every_kind_has_the_two_that_tools_read() -> None:
    for kind, types in CONDITION_TYPES.items():
        assert set(types) >= {"Ready", "Stalled"}, kind
        assert len(types) <= 16, "the schema allows so many"


@given(
    st.lists(
        st.tuples(st.sampled_from(["Ready", "Stalled"]), st.sampled_from(["True", "False", "Unknown"])), max_size=20
    )
)
def test_one_condition_a_type_and_its_time_is_that_of_the_last_change(steps: list[tuple[str, ConditionStatus]]) -> None:
    conditions: list[Condition] = []
    expected: dict[str, tuple[str, datetime]] = {}
    for second, (type_, status) in enumerate(steps):
        now = THEN + timedelta(seconds=second)
        conditions = set_condition(conditions, type_, status, "Ok", "", observed_generation=1, now=now)
        if expected.get(type_, ("", now))[0] != status:
            expected[type_] = (status, now)

    assert {one.type: (one.status, one.last_transition_time) for one in conditions} == expected
    assert len(conditions) == len(expected)
