"""Sentences: why a task whose process was ended must not run again, as text that travels with its message.

A worker's supervisor writes one when it ends a process because of one of its tasks; whoever claims the message next
reads it, stores the state and settles. What nobody can read is no sentence: the task runs again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from longshore.core.settle import Failure

_EXCEPTIONS = "celery.exceptions"  # where Celery's clients look for the framework's exceptions


class TimeLimitReached(msgspec.Struct, frozen=True, tag="time-limit", tag_field="kind"):
    """The hard time limit, in seconds, is over."""

    seconds: float


class Terminated(msgspec.Struct, frozen=True, tag="terminated", tag_field="kind"):
    """Somebody asked for its end."""

    signal: str


class WorkerLost(msgspec.Struct, frozen=True, tag="worker-lost", tag_field="kind"):
    """Its process died, and the task said that it must not run again then."""

    text: str


Sentence = TimeLimitReached | Terminated | WorkerLost

_decoder = msgspec.json.Decoder(Sentence)


def dump_sentence(sentence: Sentence) -> str:
    """Return the text for a header."""
    return msgspec.json.encode(sentence).decode()


def parse_sentence(text: Any) -> Sentence | None:
    """Read a header; `None` where there is none that this version understands."""
    if not isinstance(text, str):
        return None
    try:
        sentence: Sentence = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    return sentence


def failure_of(sentence: Sentence) -> Failure:
    """Return the exception by which the caller learns of it, as Celery names it."""
    match sentence:
        case TimeLimitReached(seconds):
            return Failure("TimeLimitExceeded", _EXCEPTIONS, [seconds], f"{seconds:g} s")
        case Terminated():
            return Failure("TaskRevokedError", _EXCEPTIONS, ["terminated"], "terminated")
        case WorkerLost(text):
            return Failure("WorkerLostError", _EXCEPTIONS, [text], text)
