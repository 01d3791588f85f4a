"""How fast a pool may change: stabilization windows and rate policies, with the meaning that they have in HPA v2.

Pure arithmetic on past recommendations and past changes; knows nothing of queues. The one difference to an HPA: a pool
at zero may always have its first replica (a percentage of nothing would keep it at zero for ever).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

DEFAULT_SCALE_DOWN_WINDOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """At most `value` pods, or percent of the replicas, in `period_seconds`."""

    type: Literal["Pods", "Percent"]
    value: int
    period_seconds: float


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """One direction's rules; without policies its speed is not limited."""

    stabilization_window_seconds: float = 0.0
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"
    policies: tuple[RatePolicy, ...] = ()


@dataclass(frozen=True, slots=True)
class Behavior:
    """`spec.autoscaling.behavior`."""

    scale_up: ScalingRules = field(default_factory=ScalingRules)
    scale_down: ScalingRules = field(default_factory=lambda: ScalingRules(DEFAULT_SCALE_DOWN_WINDOW_SECONDS))

    def longest_window(self) -> float:
        """Return how long a recommendation matters."""
        return max(self.scale_up.stabilization_window_seconds, self.scale_down.stabilization_window_seconds)

    def longest_period(self) -> float:
        """Return how long a change matters."""
        policies = (*self.scale_up.policies, *self.scale_down.policies)
        return max((policy.period_seconds for policy in policies), default=0.0)


@dataclass(frozen=True, slots=True)
class ScaleEvent:
    """A change that was carried out: `delta` replicas more (or, negative, fewer)."""

    at: float
    delta: int


def stabilize(
    wanted: int, current: int, recommendations: Sequence[tuple[float, int]], behavior: Behavior, now: float
) -> int:
    """Move up only as far as every recommendation of the up window did, and down likewise."""

    def within(window: float) -> list[int]:
        return [wanted, *(value for at, value in recommendations if at > now - window)]

    lowest = min(within(behavior.scale_up.stabilization_window_seconds))
    highest = max(within(behavior.scale_down.stabilization_window_seconds))
    return min(max(current, lowest), highest)


def limit_rate(wanted: int, current: int, events: Sequence[ScaleEvent], behavior: Behavior, now: float) -> int:
    """Return `wanted`, or what the direction's policies allow of it."""
    if wanted > current:
        return min(wanted, _highest_allowed(current, events, behavior.scale_up, now))
    if wanted < current:
        return max(wanted, _lowest_allowed(current, events, behavior.scale_down, now))
    return current


def _highest_allowed(current: int, events: Sequence[ScaleEvent], rules: ScalingRules, now: float) -> int:
    if rules.select_policy == "Disabled":
        return current
    limits = [_up_limit(policy, current - _changed(events, policy, now)) for policy in rules.policies]
    if not limits:
        return max(current, 2**31)
    allowed = max(limits) if rules.select_policy == "Max" else min(limits)
    return max(allowed, current, 1)


def _lowest_allowed(current: int, events: Sequence[ScaleEvent], rules: ScalingRules, now: float) -> int:
    if rules.select_policy == "Disabled":
        return current
    limits = [_down_limit(policy, current - _changed(events, policy, now)) for policy in rules.policies]
    if not limits:
        return 0
    allowed = min(limits) if rules.select_policy == "Max" else max(limits)
    return min(max(allowed, 0), current)


def _changed(events: Sequence[ScaleEvent], policy: RatePolicy, now: float) -> int:
    return sum(event.delta for event in events if event.at > now - policy.period_seconds)


def _up_limit(policy: RatePolicy, before: int) -> int:
    if policy.type == "Pods":
        return before + policy.value
    return math.ceil(before * (100 + policy.value) / 100)


def _down_limit(policy: RatePolicy, before: int) -> int:
    if policy.type == "Pods":
        return before - policy.value
    return math.floor(before * (100 - policy.value) / 100)
