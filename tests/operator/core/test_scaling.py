"""A pool follows its queues, and nothing that is unknown ever makes it smaller."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.core.behavior import Behavior, RatePolicy, ScalingRules
from longshore_operator.core.scaling import (
    BacklogTarget,
    QueueLoad,
    ScaleInputs,
    ScaleMemory,
    ScalePolicy,
    ScalingDecision,
    WaitTarget,
    decide_scale,
    note_scaled,
)

NOW = 1_000_000.0
AT_ONCE = Behavior(scale_down=ScalingRules(0.0))


def load(ready: int | None = 0, leased: int | None = 0, due: int | None = 0) -> QueueLoad:
    return QueueLoad("orders", ready, leased, due)


def pool(current: int, *queues: QueueLoad, slots: int = 4, **more: object) -> ScaleInputs:
    return ScaleInputs(current, queues or (load(),), slots, **more)  # type: ignore[arg-type]


def policy(low: int = 0, high: int = 20, **more: object) -> ScalePolicy:
    target = more.pop("target", BacklogTarget(10))
    return ScalePolicy(low, high, target, **{"behavior": AT_ONCE, **more})  # type: ignore[arg-type]


def decide(
    inputs: ScaleInputs, rules: ScalePolicy, memory: ScaleMemory | None = None, now: float = NOW
) -> ScalingDecision:
    return decide_scale(inputs, rules, memory or ScaleMemory(), now)


@pytest.mark.parametrize(
    ("inputs", "rules", "desired", "reason"),
    [
        (pool(0, load(1)), policy(), 1, "Backlog"),
        (pool(0, load(95, 5)), policy(), 10, "Backlog"),
        (pool(0, load(101)), policy(), 11, "Backlog"),
        (pool(2, load(0, 15)), policy(), 2, "Backlog"),
        (pool(0, load(0, 0, 1)), policy(), 1, "Backlog"),
        (pool(0, load(5), load(6)), policy(), 2, "Backlog"),
        (pool(0, load(10_000)), policy(), 20, "MaxReplicas"),
        (pool(0), policy(2), 2, "MinReplicas"),
        (pool(0), policy(), 0, "Backlog"),
        # Wait: one slot a task until a rate is known, then as many slots as serve the backlog in time.
        (pool(0, load(8)), policy(target=WaitTarget(10)), 2, "Wait"),
        (pool(0, load(800)), policy(target=WaitTarget(10)), 20, "MaxReplicas"),
        (pool(0, load(800), service_rate=2.0), policy(target=WaitTarget(10)), 10, "Wait"),
        (pool(0, load(8), service_rate=1000.0), policy(target=WaitTarget(10)), 1, "Wait"),
        (pool(0, load(8), service_rate=0.001), policy(target=WaitTarget(10)), 2, "Wait"),
        # Where the broker cannot count claims, the workers' reports do.
        (pool(1, load(5, None), held=15), policy(), 2, "Backlog"),
    ],
)
def test_desired_replicas(inputs: ScaleInputs, rules: ScalePolicy, desired: int, reason: str) -> None:
    decision = decide(inputs, rules)
    assert (decision.desired, decision.reason) == (desired, reason)


@pytest.mark.parametrize(
    ("inputs", "rules", "desired", "reason"),
    [
        (pool(5, load(None)), policy(), 5, "Unknown"),
        (pool(5, load(3, None)), policy(), 5, "Unknown"),
        (pool(5, load(None), load(30)), policy(), 5, "Unknown"),
        # What is known may ask for more; nothing unknown ever asks for less.
        (pool(1, load(None), load(95)), policy(), 10, "Backlog"),
        # The bounds of the spec hold all the same.
        (pool(0, load(None)), policy(2), 2, "Unknown"),
        (pool(9, load(None)), policy(0, 4), 4, "Unknown"),
        (pool(3, load(95), problem="pod a crashed"), policy(), 3, "Problem"),
        (pool(3, load(5), problem="pod a crashed"), policy(), 1, "Backlog"),
        (pool(7, load(95)), policy(suspend=True), 7, "Suspended"),
    ],
)
def test_what_holds_a_pool(inputs: ScaleInputs, rules: ScalePolicy, desired: int, reason: str) -> None:
    decision = decide(inputs, rules)
    assert (decision.desired, decision.reason) == (desired, reason)


def test_unknown_delayed_messages_do_not_hold_a_pool_up() -> None:
    memory = ScaleMemory(idle_since=NOW - 100, idle_samples=5)
    assert decide(pool(1, load(0, 0, None), sampled_at=NOW), policy(), memory).desired == 0


def test_zero_needs_time_and_two_samples_that_agree() -> None:
    rules, memory, seen = policy(scale_to_zero_after_seconds=10), ScaleMemory(), []
    for second in range(13):
        decision = decide(pool(1, sampled_at=NOW + second), rules, memory, NOW + second)
        memory = decision.memory
        seen.append((decision.desired, decision.reason))
    assert seen[:10] == [(1, "CoolingDown")] * 10
    assert seen[10] == (0, "Idle")


def test_one_sample_seen_twice_is_one_sample() -> None:
    rules = policy(scale_to_zero_after_seconds=0)
    first = decide(pool(1, sampled_at=NOW), rules)
    again = decide(pool(1, sampled_at=NOW), rules, first.memory, NOW + 1)
    assert (first.desired, again.desired) == (1, 1)
    assert decide(pool(1, sampled_at=NOW + 2), rules, again.memory, NOW + 2).desired == 0


@pytest.mark.parametrize("interruption", [load(1), load(0, 1), load(0, 0, 1), load(None)])
def test_a_task_or_a_blind_moment_starts_the_idle_time_anew(interruption: QueueLoad) -> None:
    rules = policy(scale_to_zero_after_seconds=10)
    memory = ScaleMemory(idle_since=NOW - 100, idle_samples=9, sampled_at=NOW - 1)
    interrupted = decide(pool(1, interruption, sampled_at=NOW), rules, memory)
    assert interrupted.desired == 1
    after = decide(pool(1, sampled_at=NOW + 1), rules, interrupted.memory, NOW + 1)
    assert (after.desired, after.reason) == (1, "CoolingDown")


def test_tasks_that_come_and_go_between_two_samples_keep_the_pool_from_zero() -> None:
    rules, memory = policy(scale_to_zero_after_seconds=5), ScaleMemory()
    for second in range(20):
        working = replace(pool(1, sampled_at=NOW + second), processed=second // 2)
        decision = decide(working, rules, memory, NOW + second)
        assert (decision.desired, decision.reason) == (1, "CoolingDown")
        memory = decision.memory
    for second in range(20, 26):
        decision = decide(replace(pool(1, sampled_at=NOW + second), processed=9), rules, memory, NOW + second)
        memory = decision.memory
    assert (decision.desired, decision.reason) == (0, "Idle")


def test_a_new_operator_does_not_take_an_idle_pool_to_zero_at_once() -> None:
    assert decide(pool(1, sampled_at=NOW), policy()).reason == "CoolingDown"


def test_shrinking_waits_for_its_window_and_growing_does_not() -> None:
    rules = policy(behavior=Behavior())
    grown = decide(pool(1, load(95)), rules)
    assert grown.desired == 10
    early = decide(pool(10, load(5)), rules, grown.memory, NOW + 30)
    assert (early.desired, early.reason) == (10, "Stabilizing")
    late = decide(pool(10, load(5)), rules, early.memory, NOW + 61)
    assert late.desired == 1


def test_rate_policies_count_what_was_carried_out() -> None:
    rules = policy(behavior=Behavior(scale_up=ScalingRules(0, "Max", (RatePolicy("Pods", 4, 60),))))
    first = decide(pool(0, load(200)), rules)
    assert (first.desired, first.reason) == (4, "RateLimited")
    memory = note_scaled(first.memory, NOW, 4)
    assert decide(pool(4, load(200)), rules, memory, NOW + 30).desired == 4
    assert decide(pool(4, load(200)), rules, memory, NOW + 61).desired == 8


def test_a_held_pool_does_not_use_up_its_rate() -> None:
    rules = policy(behavior=Behavior(scale_up=ScalingRules(0, "Max", (RatePolicy("Pods", 4, 60),))))
    held = decide(pool(1, load(200)), rules)
    assert decide(pool(1, load(200)), rules, held.memory, NOW + 1).desired == 5


loads = st.builds(
    QueueLoad,
    st.just("q"),
    st.none() | st.integers(0, 5000),
    st.none() | st.integers(0, 500),
    st.none() | st.integers(0, 1),
)
inputs_ = st.builds(
    ScaleInputs,
    st.integers(0, 50),
    st.lists(loads, min_size=1, max_size=3).map(tuple),
    st.integers(1, 16),
    st.none() | st.floats(0.001, 1000),
    st.none() | st.integers(0, 500),
    st.none() | st.just("crashes"),
    st.just(NOW),
)
policies = st.builds(
    lambda low, more, target: ScalePolicy(low, low + more, target, AT_ONCE),
    st.integers(0, 5),
    st.integers(0, 40),
    st.builds(BacklogTarget, st.integers(1, 100)) | st.builds(WaitTarget, st.floats(1, 600)),
)


@given(inputs_, policies)
def test_the_bounds_always_hold(inputs: ScaleInputs, rules: ScalePolicy) -> None:
    assert rules.min_replicas <= decide(inputs, rules).desired <= max(rules.max_replicas, rules.min_replicas)


@given(inputs_, policies)
def test_a_pool_with_anything_to_do_or_unknown_never_goes_to_zero(inputs: ScaleInputs, rules: ScalePolicy) -> None:
    memory = ScaleMemory(idle_since=0.0, idle_samples=99)
    decision = decide_scale(inputs, rules, memory, NOW)
    blind = any(one.ready is None or (one.leased is None and inputs.held is None) for one in inputs.queues)
    busy = any(one.at_least for one in inputs.queues) or inputs.held
    if inputs.current > 0 and rules.max_replicas > 0 and (blind or (busy and _counted(inputs))):
        assert decision.desired > 0


def _counted(inputs: ScaleInputs) -> bool:
    """The workers' own count stands in only for what the broker cannot count."""
    return any(one.at_least for one in inputs.queues) or any(one.leased is None for one in inputs.queues)


@given(inputs_, policies, st.integers(1, 1000))
def test_more_work_never_means_fewer_replicas(inputs: ScaleInputs, rules: ScalePolicy, more: int) -> None:
    heavier = replace(inputs.queues[0], ready=(inputs.queues[0].ready or 0) + more)
    before = decide(replace(inputs, problem=None), rules)
    after = decide(replace(inputs, problem=None, queues=(heavier, *inputs.queues[1:])), rules)
    if before.reason != "Unknown":
        assert after.desired >= before.desired


@given(inputs_, policies)
def test_the_same_values_give_the_same_decision(inputs: ScaleInputs, rules: ScalePolicy) -> None:
    assert decide(inputs, rules) == decide(inputs, rules)
