"""From the outcome of a run to what happens with its message: the one place that decides about the end of a task.

A `Verdict` names the messages to send, the state to store, and whether the claim is removed or goes back. Whoever
carries it out does so in that order (result, messages, then the claim), so that a death in between makes a duplicate
and never a loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from longshore.core.protocol import TaskCall
from longshore.encoding import COMPRESSION_HEADER
from longshore.message import DEAD_HEADER, OUR_HEADERS, Message
from longshore.policy import AckPolicy, DeadLetterPolicy
from longshore.sealing import SEALED_HEADER, seal

SUCCESS, FAILURE, RETRY, REVOKED, STARTED, PENDING = "SUCCESS", "FAILURE", "RETRY", "REVOKED", "STARTED", "PENDING"
READY_STATES = frozenset({SUCCESS, FAILURE, REVOKED})


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as it is kept: class, module, JSON-able arguments, text, traceback."""

    type: str
    module: str
    args: list[Any]
    text: str
    traceback: str | None = None

    def as_result(self) -> dict[str, Any]:
        """Return the body that Celery's clients rebuild the exception from."""
        return {"exc_type": self.type, "exc_message": self.args, "exc_module": self.module}

    def __str__(self) -> str:
        return f"{self.type}: {self.text}" if self.text else self.type


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The task returned `value` (JSON-able)."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The task raised, and will not be tried again."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Retried:
    """The task is to be tried again: `message` is the same task with one retry more, to run at `due_at`."""

    failure: Failure
    message: Message
    queue: str
    due_at: float


@dataclass(frozen=True, slots=True)
class Ignored:
    """The task raised `Ignore`: acknowledged, nothing recorded."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The task raised `Reject`."""

    reason: str
    requeue: bool


@dataclass(frozen=True, slots=True)
class Stopped:
    """Somebody had it ended while it ran."""


@dataclass(frozen=True, slots=True)
class ReplacedBy:
    """The task handed its place, its id included, to another signature."""

    signature: Mapping[str, Any]


Outcome = Succeeded | Failed | Retried | Ignored | Rejected | Stopped | ReplacedBy


@dataclass(frozen=True, slots=True)
class Send:
    """One message to be sent by a verdict."""

    queue: str
    message: Message
    due_at: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """One state to be stored by a verdict."""

    status: str
    result: Any = None
    traceback: str | None = None
    children: tuple[Any, ...] = ()
    """Results of the tasks that this one sent, as tuples."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is done at the end of a run."""

    sends: tuple[Send, ...] = ()
    state: State | None = None
    give_back: bool = False
    counted: bool = field(default=False)


_IGNORED = Verdict()
_STOPPED = Verdict(
    state=State(REVOKED, Failure("TaskRevokedError", "celery.exceptions", ["terminated"], "terminated").as_result())
)
_DONE = Verdict(state=State(SUCCESS))


def succeeded(value: Any) -> Verdict:
    """Return the verdict on a run that returned `value`: `settle`'s, without what only other ends need to know."""
    return _DONE if value is None else Verdict(state=State(SUCCESS, value))


def settle(
    outcome: Outcome,
    message: Message,
    queue: str,
    *,
    ack: AckPolicy,
    dead: DeadLetterPolicy,
    deliveries: int,
    now: datetime,
) -> Verdict:
    """Return what happens with a task's message and result after `outcome`."""
    match outcome:
        case Succeeded(value):
            return succeeded(value)
        case Ignored() | ReplacedBy() | Stopped():
            return _STOPPED if isinstance(outcome, Stopped) else _IGNORED
        case Retried(failure, again, where, due_at):
            return Verdict((Send(where, again, due_at),), State(RETRY, failure.as_result(), failure.traceback))
        case Rejected(reason, True) if ack.late:
            return Verdict(give_back=True, counted=True)
        case Rejected(reason, _):
            letter = bury(message, queue, "Rejected", reason, deliveries=deliveries, now=now)
            failure = Failure("Reject", "celery.exceptions", [reason, False], reason)
            return Verdict((Send(dead.queue, letter),), State(FAILURE, failure.as_result()))
        case Failed(failure):
            keep = dead.keep_failures or (ack.late and not ack.on_failure_or_timeout)
            letter = bury(message, queue, "TaskFailed", str(failure), failure=failure, deliveries=deliveries, now=now)
            sends = (Send(dead.queue, letter),) if keep else ()
            return Verdict(sends, State(FAILURE, failure.as_result(), failure.traceback))


def bury(
    message: Message,
    queue: str,
    reason: str,
    text: str,
    *,
    deliveries: int,
    now: datetime,
    failure: Failure | None = None,
) -> Message:
    """Return the dead letter of a message: the original with one more header; replaying takes that header off."""
    epitaph: dict[str, Any] = {
        "v": 1,
        "reason": reason,
        "message": text[:2000],
        "queue": queue,
        "at": now.astimezone(UTC).isoformat(),
        "deliveries": deliveries,
        "retries": message.headers.get("retries") or 0,
        "exception": failure.type if failure else None,
        "traceback": failure.traceback[-8000:] if failure and failure.traceback else None,
    }
    return message.with_headers({DEAD_HEADER: epitaph})


def exhume(message: Message) -> Message:
    """Return the original of a dead letter, ready to be sent again: no history of ours, all its tries before it."""
    first_try = {"retries": 0, "eta": None} if "retries" in message.headers else {}
    bare = message.with_headers(dict.fromkeys(OUR_HEADERS))
    return msgspec.structs.replace(bare, headers={**bare.headers, **first_try})


def next_try(message: Message, call: TaskCall, due: datetime | None, *, body: bytes | None = None) -> Message:
    """Return the message of the next try of a task: same id and headers, one retry more, the new ETA.

    `body` is JSON, where the retry changes the arguments; otherwise the body stays as it was sent.
    """
    headers = {key: value for key, value in message.headers.items() if not _of_the_broker(key)}
    headers["retries"] = call.retries + 1
    headers["eta"] = due and due.isoformat()
    for ours in OUR_HEADERS:
        headers.pop(ours, None)
    if body is None:
        return msgspec.structs.replace(message, headers=headers)
    for encoding in (COMPRESSION_HEADER, SEALED_HEADER):
        headers.pop(encoding, None)
    body, seals = seal(body)
    return Message(body=body, headers={**headers, **seals}, properties=message.properties)


def _of_the_broker(header: str) -> bool:
    """RabbitMQ's own history (x-death and its family) is not the task's."""
    return header.startswith(("x-death", "x-first-death", "x-last-death", "x-delivery-count"))
