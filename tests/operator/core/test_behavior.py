"""Windows and policies mean what they mean in a HorizontalPodAutoscaler."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.core.behavior import Behavior, RatePolicy, ScaleEvent, ScalingRules, limit_rate, stabilize

NOW = 1000.0


def up(*policies: RatePolicy, select: str = "Max") -> Behavior:
    return Behavior(scale_up=ScalingRules(0, select, policies), scale_down=ScalingRules(0))  # type: ignore[arg-type]


def down(*policies: RatePolicy, select: str = "Max") -> Behavior:
    return Behavior(scale_down=ScalingRules(0, select, policies))  # type: ignore[arg-type]


PODS, PERCENT = RatePolicy("Pods", 4, 60), RatePolicy("Percent", 50, 60)


@pytest.mark.parametrize(
    ("behavior", "current", "wanted", "events", "allowed"),
    [
        (up(), 3, 99, [], 99),
        (up(PODS), 3, 99, [], 7),
        (up(PODS), 3, 5, [], 5),
        (up(PERCENT), 3, 99, [], 5),
        (up(PODS, PERCENT), 20, 99, [], 30),
        (up(PODS, PERCENT, select="Min"), 20, 99, [], 24),
        (up(PODS, select="Disabled"), 3, 99, [], 3),
        (up(PERCENT), 0, 99, [], 1),
        (up(PODS), 7, 99, [(-30, 4)], 7),
        (up(PODS), 7, 99, [(-61, 4)], 11),
        (up(PODS), 5, 99, [(-30, 4), (-10, -2)], 7),
        (down(), 10, 0, [], 0),
        (down(PODS), 10, 0, [], 6),
        (down(PERCENT), 10, 0, [], 5),
        (down(PODS, PERCENT), 10, 0, [], 5),
        (down(PODS, PERCENT, select="Min"), 10, 0, [], 6),
        (down(PODS, select="Disabled"), 10, 0, [], 10),
        (down(PODS), 6, 0, [(-30, -4)], 6),
    ],
)
def test_rate_policies(
    behavior: Behavior, current: int, wanted: int, events: list[tuple[float, int]], allowed: int
) -> None:
    history = [ScaleEvent(NOW + at, delta) for at, delta in events]
    assert limit_rate(wanted, current, history, behavior, NOW) == allowed


@pytest.mark.parametrize(
    ("windows", "history", "current", "wanted", "steady"),
    [
        ((0, 0), [], 5, 1, 1),
        ((0, 60), [(-30, 4)], 5, 1, 4),
        ((0, 60), [(-61, 4)], 5, 1, 1),
        ((0, 60), [(-30, 9)], 5, 1, 5),
        ((30, 0), [(-10, 6)], 5, 9, 6),
        ((30, 0), [(-10, 3)], 5, 9, 5),
        ((30, 0), [(-40, 3)], 5, 9, 9),
    ],
)
def test_stabilization_windows(
    windows: tuple[float, float], history: list[tuple[float, int]], current: int, wanted: int, steady: int
) -> None:
    behavior = Behavior(ScalingRules(windows[0]), ScalingRules(windows[1]))
    assert stabilize(wanted, current, [(NOW + at, value) for at, value in history], behavior, NOW) == steady


rules = st.builds(
    ScalingRules,
    st.floats(0, 100),
    st.sampled_from(["Max", "Min", "Disabled"]),
    st.lists(
        st.builds(RatePolicy, st.sampled_from(["Pods", "Percent"]), st.integers(1, 200), st.floats(1, 100)), max_size=3
    ).map(tuple),
)
behaviors = st.builds(Behavior, rules, rules)
history = st.lists(st.builds(ScaleEvent, st.floats(900, 1000), st.integers(-20, 20)), max_size=5)


@given(behaviors, st.integers(0, 100), st.integers(0, 100), history)
def test_a_limit_never_overshoots_nor_turns_round(
    behavior: Behavior, current: int, wanted: int, events: list[ScaleEvent]
) -> None:
    allowed = limit_rate(wanted, current, events, behavior, NOW)
    assert min(current, wanted) <= allowed <= max(current, wanted)
