"""Conditions: their names, their reasons, and how one is set without losing when it last changed.

Pure: a list of conditions in, a list out. `Ready` and `Stalled` mean what kstatus means by them, so that Argo CD and
Flux read an object's health from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal

from longshore_operator.api.base import Condition

ConditionStatus = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """Names of conditions. Every kind has `Ready` and `Stalled`."""

    READY = "Ready"
    STALLED = "Stalled"
    ACCEPTED = "Accepted"
    BROKER_REACHABLE = "BrokerReachable"
    DECLARED = "Declared"
    CONSUMED = "Consumed"
    AVAILABLE = "Available"
    SCALING = "Scaling"
    DRAINING = "Draining"
    SCHEDULED = "Scheduled"


CONDITION_TYPES: dict[str, tuple[ConditionType, ...]] = {
    "TaskQueue": (
        ConditionType.READY,
        ConditionType.STALLED,
        ConditionType.ACCEPTED,
        ConditionType.BROKER_REACHABLE,
        ConditionType.DECLARED,
        ConditionType.CONSUMED,
    ),
    "WorkerPool": (
        ConditionType.READY,
        ConditionType.STALLED,
        ConditionType.ACCEPTED,
        ConditionType.AVAILABLE,
        ConditionType.SCALING,
        ConditionType.DRAINING,
    ),
    "CronSchedule": (
        ConditionType.READY,
        ConditionType.STALLED,
        ConditionType.ACCEPTED,
        ConditionType.SCHEDULED,
    ),
}


class Reason(StrEnum):
    """Why a condition is as it is. One word means the same thing wherever it appears."""

    # fine
    OK = "Ok"
    SCALED_TO_ZERO = "ScaledToZero"
    SUSPENDED = "Suspended"
    AT_MOST_ONCE = "AtMostOnce"
    NOT_REPLICATED = "NotReplicated"
    PROGRESSING = "Progressing"
    # refused: the manifest, or what it refers to
    INVALID = "Invalid"
    NAME_CONFLICT = "NameConflict"
    QUEUE_CLAIMED_TWICE = "QueueClaimedTwice"
    MIXED_BROKERS = "MixedBrokers"
    QUEUE_MISSING = "QueueMissing"
    NO_IMAGE = "NoImage"
    TEMPLATE_REFUSED = "TemplateRefused"
    STORE_NEEDED = "StoreNeeded"
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
    # the broker
    BROKER_UNKNOWN = "BrokerUnknown"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason
    BROKER_UNAVAILABLE = "BrokerUnavailable"
    BROKER_REFUSED = "BrokerRefused"
    QUEUE_MISMATCH = "QueueMismatch"
    NO_CONSUMERS = "NoConsumers"
    BROKER_DEAD_ON_DELETE = "BrokerDeadOnDelete"
    # the pods
    FAILED_CREATE = "FailedCreate"
    QUOTA_EXCEEDED = "QuotaExceeded"
    IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
    CRASH_LOOP_BACK_OFF = "CrashLoopBackOff"
    UNSCHEDULABLE = "Unschedulable"
    PODS_NOT_READY = "PodsNotReady"
    REPLICAS_OWNED_ELSEWHERE = "ReplicasOwnedElsewhere"
    # schedules
    BAD_CRON = "BadCron"
    UNKNOWN_TIME_ZONE = "UnknownTimeZone"
    TASK_UNKNOWN = "TaskUnknown"
    NOT_SUPPORTED = "NotSupported"
    # scaling
    SCALING_UP = "ScalingUp"
    SCALING_DOWN = "ScalingDown"
    STEADY = "Steady"
    DRAINING = "Draining"
    NOT_DRAINING = "NotDraining"
    UNMEASURED = "Unmeasured"


def set_condition(
    conditions: Sequence[Condition],
    type: str,  # noqa: A002 - the field's name in Kubernetes
    status: ConditionStatus,
    reason: str,
    message: str,
    *,
    observed_generation: int | None,
    now: datetime,
) -> list[Condition]:
    """Return the conditions with this one set; its `last_transition_time` stays unless its status changes."""
    before = get_condition(conditions, type)
    since = before.last_transition_time if before is not None and before.status == status else now
    condition = Condition(
        type=str(type),
        status=status,
        reason=str(reason),
        message=message,
        last_transition_time=since.replace(microsecond=0),
        observed_generation=observed_generation,
    )
    if before is None:
        return [*conditions, condition]
    return [condition if one.type == type else one for one in conditions]


def get_condition(conditions: Iterable[Condition], type: str) -> Condition | None:  # noqa: A002 - as above
    """The condition of that name, if it is there."""
    return next((one for one in conditions if one.type == type), None)


def is_true(conditions: Iterable[Condition], type: str) -> bool:  # noqa: A002 - as above
    """Whether the condition is there and holds."""
    condition = get_condition(conditions, type)
    return condition is not None and condition.status == "True"
