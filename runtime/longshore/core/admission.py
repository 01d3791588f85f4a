"""What to do with a claimed message before anything of it runs: run, wait, park, drop as expired, or dead-letter."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime

from longshore.core.protocol import TaskCall
from longshore.message import PARKED_HEADER
from longshore.policy import DeadLetterPolicy

PARK_GRACE_SECONDS = 24 * 3600.0
"""How long an unknown task waits for a worker that knows it (a rolling update, decided generously)."""


_CANVAS = ("callbacks", "chain", "chord", "errbacks")
"""Parts of a message that say what comes after its task. Running the task and dropping them would lose work."""


@dataclass(frozen=True, slots=True)
class Run:
    """Execute it now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Its ETA is not reached: into the broker's delayed store."""

    due_at: float


@dataclass(frozen=True, slots=True)
class Park:
    """No task of this name here: wait for a worker that has one."""

    due_at: float
    header: dict[str, object]
    reason: str


@dataclass(frozen=True, slots=True)
class Expired:
    """Its `expires` is over: REVOKED."""


@dataclass(frozen=True, slots=True)
class Bury:
    """To the dead letters, with a reason (a CamelCase word) and a message (a sentence)."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Postpone:
    """Its lock is held, or its turn under the rate limit is later: into the broker's delayed store."""

    due_at: float
    header: dict[str, object]
    reason: str


@dataclass(frozen=True, slots=True)
class Fail:
    """It will not run: FAILURE with this exception of ours, and a dead letter where failed tasks are kept."""

    exception: str
    message: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Another copy of it runs, or has run."""


_RUN = Run()
Refusal = Wait | Park | Postpone | Expired | Fail | Drop | Bury
Admission = Run | Refusal


def admit(call: TaskCall, deliveries: int, known: Container[str], policy: DeadLetterPolicy, now: datetime) -> Admission:
    """Decide about one call that had `deliveries` started executions before."""
    if deliveries >= policy.max_deliveries:
        return Bury(
            "MaxDeliveriesExceeded",
            f"{deliveries} started executions ended with the death of their process (limit {policy.max_deliveries})",
        )
    if call.expires is not None and call.expires <= now:
        return Expired()
    if any(call.embed.values()) and (canvas := sorted(part for part in _CANVAS if call.embed.get(part))):
        return Bury(
            "CanvasNotSupported",
            f"the message carries {', '.join(canvas)}, which this version cannot carry on; it runs on a Celery worker",
        )
    if call.eta is not None and call.eta > now:
        return Wait(call.eta.timestamp())
    if call.name not in known:
        return _unknown(call, now.timestamp())
    return _RUN


def _unknown(call: TaskCall, now: float) -> Park | Bury:
    parked = call.headers.get(PARKED_HEADER)
    parked = parked if isinstance(parked, dict) else {}
    since, times = float(parked.get("since") or now), int(parked.get("times") or 0)
    if now - since > PARK_GRACE_SECONDS:
        return Bury("UnknownTask", f"no worker knew the task {call.name!r} for {PARK_GRACE_SECONDS / 3600:.0f} hours")
    delay = min(60.0, 2.0 ** min(times, 6))
    reason = f"no task {call.name!r} is registered here; it waits {delay:.0f} s for a worker that has it"
    return Park(now + delay, {"v": 1, "since": since, "times": times + 1}, reason)
