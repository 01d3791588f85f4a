"""Which pods would go if a pool shrank now: a prediction of the ReplicaSet's choice, and what to do about it.

The deletion cost is only a hint to Kubernetes: a pod that is not ready goes before a cheap one, and the cost does not
act across ReplicaSets. So a pool shrinks only when every pod that could go holds nothing. Knows pods and what their
workers reported; deletes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from longshore_operator.core.pods import PodView

VICTIM_COST = -100
_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}

ShrinkReason = Literal["Now", "Marking", "Busy", "Rollout"]


@dataclass(frozen=True, slots=True)
class ShrinkPlan:
    """What to do this time round. Replicas are lowered only after the marks have been seen on the pods."""

    replicas: int
    reason: ShrinkReason
    mark: tuple[PodView, ...] = ()
    unmark: tuple[PodView, ...] = ()


def deletion_rank(pod: PodView) -> tuple[bool, int, bool, int]:
    """Sort key of the ReplicaSet's choice, as far as it does not depend on time; the smallest goes first."""
    return (pod.node is not None, _PHASE_RANK.get(pod.phase, 1), pod.ready, pod.deletion_cost)


def possible_victims(pods: Sequence[PodView], count: int) -> tuple[PodView, ...]:
    """Return every pod that may go when `count` of them do: the first ones, and all that are level with the last."""
    ranked = sorted(pods, key=deletion_rank)
    if count <= 0 or not ranked:
        return ()
    limit = deletion_rank(ranked[min(count, len(ranked)) - 1])
    return tuple(pod for pod in ranked if deletion_rank(pod) <= limit)


def is_idle(pod: PodView, held: Mapping[str, int]) -> bool:
    """Whether a pod surely holds no claim: its worker says so, or no worker runs in it (not started, or crashed)."""
    if pod.uid in held:
        return held[pod.uid] == 0
    return not pod.ready and (pod.phase == "Pending" or pod.waiting_reason is not None)


def plan_shrink(pods: Sequence[PodView], current: int, desired: int, held: Mapping[str, int]) -> ShrinkPlan:
    """Plan the way from `current` down to `desired` replicas without hitting a pod that holds a claim.

    `held` maps pod UID to claims, for the pods whose workers report. Fewer idle pods than wanted: shrink by those. The
    pods that do not count any more (terminating, ended) are not asked.
    """
    live = [pod for pod in pods if not pod.terminating and pod.phase not in {"Succeeded", "Failed"}]
    if len({pod.owner for pod in live}) > 1:
        return ShrinkPlan(current, "Rollout", unmark=_marked(live, frozenset()))
    missing = max(current - len(live), 0)
    idle = sorted((pod for pod in live if is_idle(pod, held)), key=deletion_rank)
    count = min(current - desired - missing, len(idle))
    if count <= 0:
        return _without_pods(live, current, desired, missing)
    return _plan_victims(live, idle[:count], current, missing, held)


def _without_pods(live: Sequence[PodView], current: int, desired: int, missing: int) -> ShrinkPlan:
    """Replicas that have no pod yet can go at once; every pod that is there is busy or stays."""
    lower = max(desired, current - missing)
    return ShrinkPlan(lower, "Now" if lower < current else "Busy", unmark=_marked(live, frozenset()))


def _plan_victims(
    live: Sequence[PodView], chosen: Sequence[PodView], current: int, missing: int, held: Mapping[str, int]
) -> ShrinkPlan:
    names = frozenset(pod.uid for pod in chosen)
    unmark = _marked(live, names)
    if all(is_idle(pod, held) for pod in possible_victims(live, len(chosen))):
        return ShrinkPlan(current - missing - len(chosen), "Now", unmark=unmark)
    mark = tuple(pod for pod in chosen if pod.deletion_cost != VICTIM_COST)
    return ShrinkPlan(current, "Marking" if mark or unmark else "Busy", mark=mark, unmark=unmark)


def _marked(pods: Sequence[PodView], wanted: AbstractSet[str]) -> tuple[PodView, ...]:
    return tuple(pod for pod in pods if pod.deletion_cost == VICTIM_COST and pod.uid not in wanted)


def stale_marks(pods: Sequence[PodView]) -> tuple[PodView, ...]:
    """Return the pods that carry a mark though the pool does not shrink."""
    return _marked([pod for pod in pods if not pod.terminating], frozenset())
