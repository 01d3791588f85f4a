"""What can go wrong, named.

Task outcomes that are raised (`Retry`, `Ignore`, `Reject` …) carry Celery's names, so that moved code keeps its
`except` clauses. Errors of ours derive from `LongshoreError` and hold one sentence for a person: what is wrong and what
to do. None of them ever holds a password: addresses pass through `redact_url` first.
"""

from __future__ import annotations

import builtins
import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_LATER_SCHEME = re.compile(r"(?<=[\w\]])([;,])(?:sentinels?|rediss?|valkeys?)://")


class LongshoreError(Exception):
    """Base of every error that Longshore itself raises."""


class ImproperlyConfigured(LongshoreError):
    """A setting, an option or a manifest is wrong; the user can mend it. A command ends with exit code 2."""


class NotRegistered(LongshoreError, KeyError):
    """No task of that name is in this app's registry."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "task is not registered"


class DuplicateTask(ImproperlyConfigured):
    """Two functions claim the same task name; the message names both places."""


class MessageError(LongshoreError):
    """A message cannot be read as a task: it goes to the dead letters with this text as its reason."""


# -- brokers ---------------------------------------------------------------------------------------------------------


class BrokerError(LongshoreError):
    """Base of what a broker refuses or cannot do."""


class BrokerUnavailable(BrokerError):
    """The broker does not answer within the deadline. Nothing was sent."""


class BrokerRefused(BrokerError):
    """The broker answers and says no for good: wrong password, no permission, a file that is not SQLite."""


class BrokerFull(BrokerError):
    """Out of memory or disk, or `connection.blocked`: the broker takes no more messages now. Nothing was sent."""


class QueueNotFound(BrokerError):
    """The queue does not exist and the broker cannot make it on the fly. Nothing was sent."""


class SendOutcomeUnknown(BrokerError):
    """The connection broke after the bytes had left: the message may be in the queue. Sending it again with the same
    id makes at worst a duplicate.
    """


class HandbackRefused(BrokerError):
    """The queue cannot be handed back to Celery now: Longshore workers live on it. Nothing was moved."""


class UnsupportedByBroker(BrokerError, ImproperlyConfigured):
    """The capability table of this broker says no to what was asked."""


class BackendError(LongshoreError):
    """The result backend does not answer or refuses."""


class NoStore(ImproperlyConfigured):
    """A lock, a rate limit or an idempotency key was asked for and there is no store to keep it."""


class MessageTooLarge(LongshoreError, ValueError):
    """The arguments of a call are larger than `task_message_max_bytes`. Nothing was sent."""


class NoResultBackend(ImproperlyConfigured):
    """A result was asked for and no result backend is configured."""


# -- outcomes of a task ----------------------------------------------------------------------------------------------


class TaskPredicate(LongshoreError):
    """Base of the exceptions by which a task tells the worker what to do with it."""


class Retry(TaskPredicate):
    """Raised by `Task.retry`: the task runs again at `when` (seconds from now, or a datetime)."""

    def __init__(self, message: str | None = None, exc: BaseException | None = None, when: Any = None) -> None:
        super().__init__(message, exc, when)
        self.message = message
        self.exc = exc
        self.when = when
        self.arguments: tuple[Any, Any] | None = None
        """New (args, kwargs) of the next try, where `retry` was given any."""
        self.queue: str | None = None

    def __str__(self) -> str:
        reason = self.message or (repr(self.exc) if self.exc is not None else "")
        when = f"Retry in {self.when}s" if isinstance(self.when, int | float) else f"Retry at {self.when}"
        return f"{when}: {reason}" if reason else when


class Ignore(TaskPredicate):
    """The message is acknowledged and no state is recorded."""


class Reject(TaskPredicate):
    """The message is refused: to the dead letters, or with `requeue=True` back to its queue (a counted delivery)."""

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        super().__init__(reason, requeue)
        self.reason = reason
        self.requeue = requeue


class TaskError(LongshoreError):
    """Base of errors about one task's run."""


class MaxRetriesExceededError(TaskError):
    """`retry` was called once more than `max_retries` allows and no other exception was given."""


class TaskRevokedError(TaskError):
    """The task was revoked or expired before it ran."""


class WorkerLostError(TaskError):
    """The process that ran the task died."""


class LockNotAcquired(TaskError):
    """The task's lock was not free within its `lock_blocking_timeout`: it has not run."""


class ChordError(TaskError):
    """A part of a chord's header failed: the body will not run."""


class WouldBlock(ImproperlyConfigured, RuntimeError):
    """A task waits for another one: a pool whose tasks wait for each other stands still."""


class IncompleteStream(TaskError):
    """A result that was to be collected is not there yet."""


class Replaced(Ignore):
    """Raised by `Task.replace`: another signature takes the task's place, id and all."""

    def __init__(self, signature: Any) -> None:
        super().__init__("replaced by another task")
        self.signature = signature


class SoftTimeLimitExceeded(TaskError):
    """Raised inside a task when its soft time limit is over."""

    def __str__(self) -> str:
        return ", ".join(map(str, self.args)) or "the soft time limit is over"


class TimeLimitExceeded(TaskError):
    """The hard time limit is over: the child that ran the task was ended."""


class TimeoutError(LongshoreError, builtins.TimeoutError):  # noqa: A001 - Celery's name, and the standard one catches it
    """A result did not arrive in time."""


def one_url(url: str) -> str:
    """Return kombu's ``sentinel://a:1;sentinel://b:2/0`` with one scheme in front; any other address as it is."""
    return _LATER_SCHEME.sub(r"\1", url)


def redact_url(url: str) -> str:
    """Return the address with its password, and secrets among its options, replaced by ``***``."""
    parts = urlsplit(one_url(url))
    host = parts.netloc.rpartition("@")
    netloc = parts.netloc
    if host[1]:
        user, colon, _ = host[0].partition(":")
        netloc = f"{user}{':***' if colon else ''}@{host[2]}"
    if not netloc:  # urlunsplit would take slashes from sqlite:////srv/tasks.db
        head, question, query = url.partition("?")
        return f"{head}{question}{_redact_query(query)}"
    return urlunsplit((parts.scheme, netloc, parts.path, _redact_query(parts.query), ""))


def _redact_query(query: str) -> str:
    def one(pair: str) -> str:
        key, equals, _ = pair.partition("=")
        return f"{key}=***" if equals and any(word in key.lower() for word in ("pass", "secret", "token")) else pair

    return "&".join(one(pair) for pair in query.split("&")) if query else ""
