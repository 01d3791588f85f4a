"""What a running task may know of its call, and the run that this thread or coroutine is in.

A request is made when somebody asks for it, since most tasks never do.
"""

from __future__ import annotations

import contextvars
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


class ExceptionInfo:
    """What a handler is told of an exception: itself, its type, and its traceback as text."""

    __slots__ = ("exception", "traceback")

    def __init__(self, exception: BaseException | None, traceback: str | None) -> None:
        self.exception = exception
        self.traceback = traceback or ""

    @property
    def type(self) -> type[BaseException] | None:
        """The exception's class."""
        return None if self.exception is None else type(self.exception)

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {self.exception!r}>"


@dataclass(slots=True)
class Request:
    """What a running task may know of its call (`self.request`)."""

    id: str | None = None
    task: str | None = None
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    origin: str | None = None
    """Who sent it, ``gen<pid>@host``."""
    shadow: str | None = None
    """Another name for logs and monitors."""
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    timelimit: Sequence[float | None] = (None, None)
    """Hard, soft; seconds."""
    replaced_task_nesting: int = 0
    stamped_headers: Sequence[str] | None = None
    stamps: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    delivery_info: Mapping[str, Any] = field(default_factory=dict)
    """routing_key (the queue), redelivered, priority."""
    deliveries: int = 0
    """Started executions before this one."""
    hostname: str | None = None
    """The worker's name; in a pod it ends with the pod's."""
    reply_to: str | None = None
    correlation_id: str | None = None
    ignore_result: bool = False
    is_eager: bool = False
    called_directly: bool = True
    utc: bool = True
    callbacks: Sequence[Any] | None = None
    """Signatures sent with the result when this task has succeeded."""
    errbacks: Sequence[Any] | None = None
    """Signatures called when this task failed for good."""
    chain: Sequence[Any] | None = None
    """What comes after this task, the last first."""
    chord: Any = None
    """The body of the chord that this task is a part of."""
    children: list[Any] = field(default_factory=list)
    """Results of the tasks that this one has sent."""
    added: int = 0
    """How many parts this task has added to its chord."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute by name, or a header that the caller added."""
        if hasattr(self, name):
            return getattr(self, name)
        return self.headers.get(name, default)

    def on_failure(self, einfo: ExceptionInfo) -> None:
        """Called in the worker when the task failed for good; for request classes of one's own (`Task.Request`)."""

    def on_retry(self, einfo: ExceptionInfo) -> None:
        """Called in the worker when the task is to be tried again; as above."""

    def on_success(self, retval: Any) -> None:
        """Called in the worker when the task returned; as above."""

    @property
    def time_limit(self) -> float | None:
        """The hard time limit of this run, in seconds."""
        return self.timelimit[0]

    @property
    def soft_time_limit(self) -> float | None:
        """The soft time limit of this run, in seconds."""
        return self.timelimit[1]

    @property
    def redelivered(self) -> bool:
        """Whether the message was held by somebody before."""
        return bool(self.delivery_info.get("redelivered"))


class CurrentRun(Protocol):
    """A run that can say its request: made when somebody asks, since most tasks never do."""

    @property
    def request(self) -> Request:
        """What the task sees as `self.request`."""

    def acknowledge(self) -> None:
        """Acknowledge the message now."""


_NO_REQUEST = Request()
current_run: contextvars.ContextVar[CurrentRun | None] = contextvars.ContextVar("longshore_run", default=None)


def current_request() -> Request:
    """Return the request of the task that runs here; outside a run it is empty and `called_directly`."""
    run = current_run.get()
    return _NO_REQUEST if run is None else run.request
