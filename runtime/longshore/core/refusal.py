"""What happens with a message that does not run now: its verdict, from the admission's decision."""

from __future__ import annotations

from datetime import datetime

from longshore.core.admission import Bury, Expired, Park, Wait
from longshore.core.settle import FAILURE, REVOKED, Failure, Send, State, Verdict, bury
from longshore.message import PARKED_HEADER, Message
from longshore.policy import DeadLetterPolicy

_RESULT_OF = {"MaxDeliveriesExceeded": "WorkerLostError", "UnknownTask": "NotRegistered"}
_EXCEPTIONS = "celery.exceptions"  # where Celery's clients look for the framework's exceptions


def refuse(
    refusal: Wait | Park | Expired | Bury,
    message: Message,
    queue: str,
    *,
    dead: DeadLetterPolicy,
    deliveries: int,
    now: datetime,
) -> Verdict:
    """Return the verdict: into the delayed store, to the dead letters, or REVOKED; never simply away."""
    match refusal:
        case Wait(due_at):
            return Verdict((Send(queue, message, due_at),))
        case Park(due_at, header, _):
            return Verdict((Send(queue, message.with_headers({PARKED_HEADER: header}), due_at),))
        case Expired():
            return Verdict(state=State(REVOKED, _result("TaskRevokedError", "expired")))
        case Bury(reason, text):
            letter = bury(message, queue, reason, text, deliveries=deliveries, now=now)
            return Verdict((Send(dead.queue, letter),), State(FAILURE, _result(_RESULT_OF.get(reason, reason), text)))


def _result(exception: str, text: str) -> dict[str, object]:
    return Failure(exception, _EXCEPTIONS, [text], text).as_result()
