"""What keeps a resource from being ready, as a condition says it: a reason for programs and a sentence for a person.

A fault is a value; whether it stalls (somebody has to act) or passes by itself is part of it. Knows no resource in
particular.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from longshore_operator.api.base import Condition
from longshore_operator.api.conditions import ConditionType, Reason, set_condition

_PASSING = frozenset(
    {
        Reason.BROKER_UNAVAILABLE,
        Reason.UNMEASURED,
        Reason.PROGRESSING,
        Reason.PODS_NOT_READY,
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong."""

    reason: str
    message: str

    @property
    def stalls(self) -> bool:
        """Whether it stays until somebody acts."""
        return self.reason not in _PASSING


class ConditionWriter:
    """Collects an object's new conditions, keeping the transition times of those that did not change."""

    def __init__(self, before: Sequence[Condition], generation: int, now: datetime) -> None:
        self.conditions = list(before)
        self._generation = generation
        self._now = now

    def set(self, kind: ConditionType, status: Literal["True", "False", "Unknown"], reason: str, message: str) -> None:
        """Set one condition."""
        self.conditions = set_condition(
            self.conditions, kind, status, reason, message, observed_generation=self._generation, now=self._now
        )

    def judge(self, kind: ConditionType, fault: Fault | None, message: str = "") -> None:
        """Set a condition that holds unless there is a fault."""
        if fault is None:
            self.set(kind, "True", Reason.OK, message)
        else:
            self.set(kind, "False", fault.reason, fault.message)

    def stalled(self, fault: Fault | None) -> None:
        """Set `Stalled` as kstatus means it: true when nothing will change before somebody acts."""
        if fault is not None and fault.stalls:
            self.set(ConditionType.STALLED, "True", fault.reason, fault.message)
        else:
            self.set(ConditionType.STALLED, "False", Reason.OK, "")


def first(*faults: Fault | None) -> Fault | None:
    """Return the first fault there is: they are given in the order in which a person would mend them."""
    return next((fault for fault in faults if fault is not None), None)
