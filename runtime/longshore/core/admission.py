"""What to do with a claimed message before anything of it runs.

It runs, waits, is parked, is over (expired, revoked, or sentenced when its process was ended), or is dead-lettered.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime

from longshore.core.protocol import TaskCall
from longshore.core.sentences import Sentence, Terminated, failure_of, parse_sentence
from longshore.core.settle import Failure
from longshore.message import PARKED_HEADER
from longshore.policy import DeadLetterPolicy

PARK_GRACE_SECONDS = 24 * 3600.0
"""How long an unknown task waits for a worker that knows it (a rolling update, decided generously)."""


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
class Revoked:
    """Somebody revoked it, or had its run ended: REVOKED, with the reason."""

    reason: str = "revoked"
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Doomed:
    """Its process was ended while it ran, and it must not run again: it failed, with this exception."""

    failure: Failure


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
Refusal = Wait | Park | Postpone | Expired | Revoked | Fail | Drop | Bury
Admission = Run | Doomed | Refusal


def admit(
    call: TaskCall,
    deliveries: int,
    known: Container[str],
    policy: DeadLetterPolicy,
    now: datetime,
    *,
    revoked: bool = False,
    can_join: bool = True,
) -> Admission:
    """Decide about one call that had `deliveries` started executions before."""
    if call.sentence is not None and (sentence := parse_sentence(call.sentence)) is not None:
        return _carried_out(sentence)
    if deliveries >= policy.max_deliveries:
        return Bury(
            "MaxDeliveriesExceeded",
            f"{deliveries} started executions ended with the death of their process (limit {policy.max_deliveries})",
        )
    if (over := _over(call, now, revoked=revoked)) is not None:
        return over
    if not can_join and call.embed.get("chord"):
        return Bury("NoResultBackend", "a part of a chord needs results, and this worker has none: set result_backend")
    if call.eta is not None and call.eta > now:
        return Wait(call.eta.timestamp())
    return _RUN if call.name in known else _unknown(call, now.timestamp())


def _over(call: TaskCall, now: datetime, *, revoked: bool) -> Expired | Revoked | None:
    if call.expires is not None and call.expires <= now:
        return Expired()
    return Revoked() if revoked else None


def _carried_out(sentence: Sentence) -> Revoked | Doomed:
    if isinstance(sentence, Terminated):
        return Revoked("terminated", sentence.signal)
    return Doomed(failure_of(sentence))


def _unknown(call: TaskCall, now: float) -> Park | Bury:
    parked = call.headers.get(PARKED_HEADER)
    parked = parked if isinstance(parked, dict) else {}
    since, times = float(parked.get("since") or now), int(parked.get("times") or 0)
    if now - since > PARK_GRACE_SECONDS:
        return Bury("UnknownTask", f"no worker knew the task {call.name!r} for {PARK_GRACE_SECONDS / 3600:.0f} hours")
    delay = min(60.0, 2.0 ** min(times, 6))
    reason = f"no task {call.name!r} is registered here; it waits {delay:.0f} s for a worker that has it"
    return Park(now + delay, {"v": 1, "since": since, "times": times + 1}, reason)
