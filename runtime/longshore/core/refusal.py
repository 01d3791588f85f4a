"""What happens with a message that does not run now: its verdict, from the admission's decision."""

from __future__ import annotations

from datetime import datetime

from longshore.core.admission import Bury, Drop, Expired, Fail, Park, Postpone, Refusal, Revoked, Wait
from longshore.core.settle import FAILURE, REVOKED, Failure, Send, State, Verdict, bury
from longshore.message import PARKED_HEADER, WAITING_HEADER, Message
from longshore.policy import DeadLetterPolicy

_RESULT_OF = {"MaxDeliveriesExceeded": "WorkerLostError", "UnknownTask": "NotRegistered"}
_EXCEPTIONS = "celery.exceptions"  # where Celery's clients look for the framework's exceptions


def refuse(
    refusal: Refusal,
    message: Message,
    queue: str,
    *,
    dead: DeadLetterPolicy,
    deliveries: int,
    now: datetime,
) -> Verdict:
    """Return the verdict: into the delayed store, to the dead letters, or REVOKED; never simply away."""
    match refusal:
        case Wait() | Park() | Postpone():
            return Verdict((Send(queue, _waiting(refusal, message), refusal.due_at),))
        case Drop():
            return Verdict()
        case Fail(exception, text):
            failure = Failure(exception, _EXCEPTIONS, [text], text)
            letter = bury(message, queue, "TaskFailed", str(failure), failure=failure, deliveries=deliveries, now=now)
            sends = (Send(dead.queue, letter),) if dead.keep_failures else ()
            return Verdict(sends, State(FAILURE, failure.as_result()))
        case Expired():
            return Verdict(state=State(REVOKED, _result("TaskRevokedError", "expired")))
        case Revoked(reason):
            return Verdict(state=State(REVOKED, _result("TaskRevokedError", reason)))
        case Bury(reason, text):
            letter = bury(message, queue, reason, text, deliveries=deliveries, now=now)
            return Verdict((Send(dead.queue, letter),), State(FAILURE, _result(_RESULT_OF.get(reason, reason), text)))


def _waiting(refusal: Wait | Park | Postpone, message: Message) -> Message:
    match refusal:
        case Wait():
            return message
        case Park(_, header, _):
            return message.with_headers({PARKED_HEADER: header})
        case Postpone(_, header, _):
            return message.with_headers({WAITING_HEADER: header})


def _result(exception: str, text: str) -> dict[str, object]:
    return Failure(exception, _EXCEPTIONS, [text], text).as_result()
