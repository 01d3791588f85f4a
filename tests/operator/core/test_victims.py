"""A pool shrinks only when every pod that Kubernetes could choose holds nothing."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.core.pods import PodView
from longshore_operator.core.victims import (
    VICTIM_COST,
    deletion_rank,
    is_idle,
    plan_shrink,
    possible_victims,
    stale_marks,
)


def pod(name: str, **more: object) -> PodView:
    base = PodView("shop", name, f"uid-{name}", owner="rs-1", node="node1", phase="Running", ready=True)
    return replace(base, **more)  # type: ignore[arg-type]


def held(**claims: int) -> dict[str, int]:
    return {f"uid-{name}": count for name, count in claims.items()}


def names(pods: tuple[PodView, ...]) -> set[str]:
    return {one.name for one in pods}


def test_order_of_the_replica_set() -> None:
    order = [
        pod("unassigned", node=None, phase="Pending", ready=False),
        pod("pending", phase="Pending", ready=False),
        pod("unknown", phase="Unknown", ready=False),
        pod("not-ready", ready=False, deletion_cost=100),
        pod("cheap", deletion_cost=-100),
        pod("plain"),
        pod("dear", deletion_cost=100),
    ]
    shuffled = random.Random(1).sample(order, len(order))
    assert sorted(shuffled, key=deletion_rank) == order


@pytest.mark.parametrize(
    ("pods", "count", "expected"),
    [
        ([pod("a"), pod("b")], 0, set()),
        ([pod("a"), pod("b"), pod("c", deletion_cost=-100)], 1, {"c"}),
        ([pod("a"), pod("b"), pod("c", deletion_cost=-100)], 2, {"a", "b", "c"}),
        ([pod("a"), pod("b", ready=False)], 1, {"b"}),
        ([pod("a")], 5, {"a"}),
    ],
)
def test_who_could_go(pods: list[PodView], count: int, expected: set[str]) -> None:
    assert names(possible_victims(pods, count)) == expected


@pytest.mark.parametrize(
    ("one", "claims", "idle"),
    [
        (pod("a"), {"uid-a": 0}, True),
        (pod("a"), {"uid-a": 1}, False),
        (pod("a"), {}, False),
        (pod("a", ready=False), {}, False),
        (pod("a", ready=False, phase="Pending"), {}, True),
        (pod("a", ready=False, waiting_reason="CrashLoopBackOff"), {}, True),
        (pod("a", ready=False, waiting_reason="CrashLoopBackOff"), {"uid-a": 2}, False),
    ],
)
def test_idle_is_only_what_surely_holds_nothing(one: PodView, claims: dict[str, int], idle: bool) -> None:
    assert is_idle(one, claims) is idle


def test_idle_pods_are_marked_first_and_the_pool_shrinks_when_the_marks_are_seen() -> None:
    pods = [pod("a"), pod("b"), pod("c")]
    first = plan_shrink(pods, 3, 2, held(a=1, b=0, c=2))
    assert (first.replicas, first.reason, names(first.mark)) == (3, "Marking", {"b"})
    marked = [pod("a"), pod("b", deletion_cost=VICTIM_COST), pod("c")]
    second = plan_shrink(marked, 3, 2, held(a=1, b=0, c=2))
    assert (second.replicas, second.reason) == (2, "Now")


def test_a_marked_pod_that_took_a_task_is_not_a_victim_any_more() -> None:
    pods = [pod("a"), pod("b", deletion_cost=VICTIM_COST)]
    plan = plan_shrink(pods, 2, 1, held(a=0, b=1))
    assert plan.replicas == 2
    assert (names(plan.mark), names(plan.unmark)) == ({"a"}, {"b"})


@pytest.mark.parametrize(
    ("pods", "current", "desired", "claims", "replicas", "reason"),
    [
        ([pod("a"), pod("b")], 2, 0, held(a=0, b=0), 0, "Now"),
        ([pod("a"), pod("b")], 2, 0, held(a=0, b=1), 2, "Marking"),
        ([pod("a"), pod("b")], 2, 1, held(a=1, b=1), 2, "Busy"),
        # A pod that is not ready goes first whatever it costs: if it may be busy, wait.
        ([pod("a", deletion_cost=VICTIM_COST), pod("b", ready=False)], 2, 1, held(a=0, b=3), 2, "Busy"),
        ([pod("a"), pod("b", owner="rs-2")], 2, 1, held(a=0, b=0), 2, "Rollout"),
        # Replicas without a pod (a quota, say) go without asking anybody.
        ([pod("a")], 5, 2, held(a=1), 2, "Now"),
        ([pod("a")], 3, 0, held(a=1), 1, "Now"),
        ([pod("a"), pod("b", terminating=True, owner="rs-2")], 1, 0, held(a=0), 0, "Now"),
        ([pod("a", phase="Failed", ready=False), pod("b")], 1, 0, held(b=0), 0, "Now"),
    ],
)
def test_plans(
    pods: list[PodView], current: int, desired: int, claims: dict[str, int], replicas: int, reason: str
) -> None:
    plan = plan_shrink(pods, current, desired, claims)
    assert (plan.replicas, plan.reason) == (replicas, reason)


def test_fewer_idle_pods_than_wanted_shrink_by_those() -> None:
    pods = [pod("a", deletion_cost=VICTIM_COST), pod("b"), pod("c"), pod("d")]
    assert plan_shrink(pods, 4, 1, held(a=0, b=1, c=1, d=1)).replicas == 3


def test_marks_are_taken_back_when_the_pool_does_not_shrink() -> None:
    assert names(stale_marks([pod("a", deletion_cost=VICTIM_COST), pod("b"), pod("c", deletion_cost=7)])) == {"a"}


pods_ = st.lists(
    st.builds(
        lambda n, node, phase, ready, cost: pod(
            f"p{n}", node=node, phase=phase, ready=ready and phase == "Running", deletion_cost=cost
        ),
        st.integers(0, 10_000),
        st.sampled_from(["n1", "n1", "n2", None]),
        st.sampled_from(["Running", "Running", "Pending", "Unknown"]),
        st.booleans(),
        st.sampled_from([0, VICTIM_COST, 5]),
    ),
    max_size=8,
    unique_by=lambda one: one.name,
)


@given(pods_, st.integers(0, 8), st.data())
def test_no_choice_of_the_replica_set_hits_a_pod_that_may_be_busy(
    pods: list[PodView], desired: int, data: st.DataObject
) -> None:
    claims = {one.uid: data.draw(st.integers(0, 2)) for one in pods if data.draw(st.booleans())}
    plan = plan_shrink(pods, len(pods), min(desired, len(pods)), claims)
    assert min(desired, len(pods)) <= plan.replicas <= len(pods)
    going = len(pods) - plan.replicas
    order = data.draw(st.permutations(pods))
    chosen = sorted(order, key=deletion_rank)[:going]
    assert all(is_idle(one, claims) for one in chosen)
