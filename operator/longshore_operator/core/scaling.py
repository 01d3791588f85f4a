"""How many replicas a pool should have: one pure function from what is known now to a decision with its reason.

The same function runs in the cluster, in `longshore dev` and in the simulator. It never reads a clock and knows neither
pods nor brokers. What is unknown is `None` and holds the pool; it is never taken for 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from longshore_operator.core.behavior import Behavior, ScaleEvent, limit_rate, stabilize

AGREEING_SAMPLES_FOR_ZERO = 2


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """One queue of a pool as it was measured last. `leased` are claims, `due_soon` are delayed and nearly due."""

    name: str
    ready: int | None
    leased: int | None = None
    due_soon: int | None = 0
    """`None` where the broker cannot tell: that does not hold the pool, since due tasks wake it as ready ones do."""

    @property
    def at_least(self) -> int:
        """What is known to be there."""
        return (self.ready or 0) + (self.leased or 0) + (self.due_soon or 0)


@dataclass(frozen=True, slots=True)
class ScaleInputs:
    """What is known of a pool now."""

    current: int
    """Replicas asked for now (the Deployment's spec)."""
    queues: tuple[QueueLoad, ...]
    slots_per_replica: int
    service_rate: float | None = None
    """Tasks a busy slot finishes in a second; `None` until it has been measured."""
    held: int | None = None
    """Claims that the pool's workers report; stands in for `leased` where a broker cannot count."""
    processed: int | None = None
    """Runs that ended, as the pool's workers count them: short tasks come and go between two samples of the queue."""
    problem: str | None = None
    """Why more replicas would not help (CrashLoopBackOff, ImagePullBackOff …)."""
    sampled_at: float | None = None


@dataclass(frozen=True, slots=True)
class BacklogTarget:
    """So many tasks of backlog for each replica."""

    backlog_per_replica: int


@dataclass(frozen=True, slots=True)
class WaitTarget:
    """The backlog is served within this time, at the measured rate."""

    wait_seconds: float


@dataclass(frozen=True, slots=True)
class ScalePolicy:
    """`spec.autoscaling` of a pool."""

    min_replicas: int
    max_replicas: int
    target: BacklogTarget | WaitTarget
    behavior: Behavior = field(default_factory=Behavior)
    scale_to_zero_after_seconds: float = 60.0
    suspend: bool = False


@dataclass(frozen=True, slots=True)
class ScaleMemory:
    """What one decision hands to the next; empty after the operator's start, which can only delay a scale-in."""

    recommendations: tuple[tuple[float, int], ...] = ()
    events: tuple[ScaleEvent, ...] = ()
    idle_since: float | None = None
    idle_samples: int = 0
    sampled_at: float | None = None
    processed: int | None = None


ScaleReason = Literal[
    "Suspended",
    "Unknown",
    "Problem",
    "Backlog",
    "Wait",
    "Idle",
    "CoolingDown",
    "Stabilizing",
    "RateLimited",
    "MinReplicas",
    "MaxReplicas",
    "Steady",
]


@dataclass(frozen=True, slots=True)
class ScalingDecision:
    """How many replicas and, for a person, why."""

    desired: int
    reason: ScaleReason
    message: str
    memory: ScaleMemory


def decide_scale(inputs: ScaleInputs, policy: ScalePolicy, memory: ScaleMemory, now: float) -> ScalingDecision:
    """Decide the pool's replicas. Applying it is somebody else's: lowering goes through drain."""
    if policy.suspend:
        return ScalingDecision(inputs.current, "Suspended", "autoscaling is suspended", ScaleMemory())
    unknown = [queue.name for queue in inputs.queues if _is_unknown(queue, inputs.held)]
    wanted, why = _wanted(inputs, policy)
    if unknown and wanted <= inputs.current:
        names = ", ".join(unknown)
        return _hold(inputs, policy, "Unknown", f"the depth of {names} is unknown: replicas stay as they are", memory)
    memory = _note_idleness(inputs, memory, now)
    floored, floor_why = _respect_zero(wanted, inputs, policy, memory, now)
    clamped, clamp_why = _clamp(floored, policy)
    memory = _remember(memory, policy.behavior, now, clamped)
    why = clamp_why or floor_why or why
    if clamped > inputs.current and inputs.problem is not None:
        return _hold(inputs, policy, "Problem", f"{clamped} wanted; not scaled up: {inputs.problem}", memory)
    if clamped == 0 and why[0] == "Idle":
        return ScalingDecision(0, *why, memory)
    return _with_behavior(inputs.current, _Wish(clamped, why), policy, memory, now)


_Why = tuple[ScaleReason, str]


def _is_unknown(queue: QueueLoad, held: int | None) -> bool:
    return queue.ready is None or (queue.leased is None and held is None)


def backlog_of(inputs: ScaleInputs) -> int:
    """Return what is known to be there: ready, claimed and nearly due."""
    counted = sum(queue.at_least for queue in inputs.queues)
    uncounted = any(queue.leased is None for queue in inputs.queues)
    return counted + (inputs.held or 0 if uncounted else 0)


def _wanted(inputs: ScaleInputs, policy: ScalePolicy) -> tuple[int, _Why]:
    backlog = backlog_of(inputs)
    if isinstance(policy.target, BacklogTarget):
        per = policy.target.backlog_per_replica
        wanted = math.ceil(backlog / per)
        return wanted, ("Backlog", f"{_tasks(backlog)} at {per} a replica")
    slots = _slots_for(backlog, policy.target.wait_seconds, inputs.service_rate)
    wanted = math.ceil(slots / inputs.slots_per_replica)
    rate = "one slot a task" if inputs.service_rate is None else f"{inputs.service_rate:.3g}/s a slot"
    return wanted, ("Wait", f"{_tasks(backlog)} within {policy.target.wait_seconds:g} s at {rate}")


def _slots_for(backlog: int, wait_seconds: float, rate: float | None) -> int:
    """One slot serves `rate * wait` tasks in time. Never more slots than tasks; one slot a task while unmeasured."""
    if rate is None or rate * wait_seconds <= 1:
        return backlog
    return math.ceil(backlog / (rate * wait_seconds))


def _tasks(count: int) -> str:
    return f"{count} task" if count == 1 else f"{count} tasks"


def _note_idleness(inputs: ScaleInputs, memory: ScaleMemory, now: float) -> ScaleMemory:
    """Count agreeing empty samples; a sample that was seen before does not count twice."""
    worked = memory.processed is not None and (inputs.processed or 0) > memory.processed
    memory = replace(memory, processed=inputs.processed)
    if worked or backlog_of(inputs) > 0:
        return replace(memory, idle_since=None, idle_samples=0, sampled_at=inputs.sampled_at)
    if memory.idle_since is None:
        return replace(memory, idle_since=now, idle_samples=1, sampled_at=inputs.sampled_at)
    if inputs.sampled_at is not None and inputs.sampled_at == memory.sampled_at:
        return memory
    return replace(memory, idle_samples=memory.idle_samples + 1, sampled_at=inputs.sampled_at)


def _respect_zero(
    wanted: int, inputs: ScaleInputs, policy: ScalePolicy, memory: ScaleMemory, now: float
) -> tuple[int, _Why | None]:
    """Keep the last replica until the pool has been seen idle long enough, by samples that agree."""
    if wanted > 0 or policy.min_replicas > 0 or inputs.current == 0:
        return wanted, None
    idle = now - memory.idle_since if memory.idle_since is not None else 0.0
    if memory.idle_samples >= AGREEING_SAMPLES_FOR_ZERO and idle >= policy.scale_to_zero_after_seconds:
        return 0, ("Idle", f"nothing ready, leased or due for {idle:.0f} s")
    return 1, ("CoolingDown", f"idle; scales to zero after {policy.scale_to_zero_after_seconds:g} s without a task")


def _clamp(wanted: int, policy: ScalePolicy) -> tuple[int, _Why | None]:
    if wanted > policy.max_replicas:
        return policy.max_replicas, ("MaxReplicas", f"{wanted} would be needed; maxReplicas is {policy.max_replicas}")
    if wanted < policy.min_replicas:
        return policy.min_replicas, ("MinReplicas", f"{wanted} would do; minReplicas is {policy.min_replicas}")
    return wanted, None


def _remember(memory: ScaleMemory, behavior: Behavior, now: float, recommendation: int) -> ScaleMemory:
    kept = tuple(item for item in memory.recommendations if item[0] >= now - behavior.longest_window())
    events = tuple(event for event in memory.events if event.at >= now - behavior.longest_period())
    return replace(memory, recommendations=(*kept, (now, recommendation)), events=events)


@dataclass(frozen=True, slots=True)
class _Wish:
    replicas: int
    why: _Why


def _with_behavior(current: int, wish: _Wish, policy: ScalePolicy, memory: ScaleMemory, now: float) -> ScalingDecision:
    """Apply what may only slow a change down. Going to zero does not come here: idle time is its clock."""
    reason, message = wish.why
    steady = stabilize(wish.replicas, current, memory.recommendations, policy.behavior, now)
    limited = limit_rate(steady, current, memory.events, policy.behavior, now)
    bounded, _ = _clamp(limited, policy)
    if limited != steady and bounded == limited:
        reason, message = "RateLimited", f"{message}; {wish.replicas} wanted, slowed by behavior.policies"
    elif steady != wish.replicas and bounded == steady:
        reason, message = "Stabilizing", f"{message}; {wish.replicas} wanted, held by stabilizationWindowSeconds"
    return ScalingDecision(bounded, reason, message, memory)


def _hold(
    inputs: ScaleInputs, policy: ScalePolicy, reason: ScaleReason, message: str, memory: ScaleMemory
) -> ScalingDecision:
    """Stay, but for the bounds that the spec sets whatever is known."""
    desired, _ = _clamp(inputs.current, policy)
    return ScalingDecision(desired, reason, message, replace(memory, idle_since=None, idle_samples=0))


def note_scaled(memory: ScaleMemory, now: float, delta: int) -> ScaleMemory:
    """Remember a change that was really carried out; the rate policies count it."""
    return replace(memory, events=(*memory.events, ScaleEvent(now, delta))) if delta else memory
