"""What one execution of a task is: its call, its message, its limits, and how it is acknowledged. Runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from longshore.core.limits import NO_LIMITS, Limits
from longshore.core.protocol import TaskCall
from longshore.message import Message
from longshore.request import Request


class Witness(Protocol):
    """Sees what happens to a run from outside its process."""

    def acknowledged(self) -> None:
        """From now on nobody else has its message."""


class Guard(Protocol):
    """Interrupts a run when its soft time limit is over: `SoftTimeLimitExceeded` is raised inside the task.

    Entered in the thread that runs the task; a coroutine is awaited through `interruptible`.
    """

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...

    def interruptible(self, coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """Return the same coroutine, which can be interrupted while it waits."""


@dataclass(slots=True)
class Run:
    """What one execution needs to know besides the task itself."""

    call: TaskCall
    message: Message
    queue: str
    redelivered: bool = False
    deliveries: int = 0
    hostname: str | None = None
    ignore_result: bool = False
    is_eager: bool = False
    request_type: type[Request] = Request
    claim: Any = None
    acknowledger: Callable[[Any], None] | None = None
    """Acknowledges the claim before the run has ended; called by the task, in whatever thread that runs."""
    acknowledged: bool = False
    witness: Witness | None = None
    limits: Limits = NO_LIMITS
    guard: Guard | None = None
    stopped: bool = False
    """Somebody wants it to end, and has interrupted it."""
    _request: Request | None = field(default=None, init=False)

    @property
    def request(self) -> Request:
        """What the task sees as `self.request`: one object for a run, made when it is first asked for."""
        if self._request is None:
            self._request = self._make_request()
        return self._request

    def acknowledge(self) -> None:
        """Acknowledge the message now, once."""
        if self.acknowledger is not None and not self.acknowledged:
            self.acknowledger(self.claim)
            self.acknowledged = True
            if self.witness is not None:
                self.witness.acknowledged()

    @property
    def children(self) -> Sequence[Any]:
        """Results of the tasks that this run has sent, as tuples."""
        return () if self._request is None else self._request.children

    def _make_request(self) -> Request:
        call, headers = self.call, self.call.headers
        return self.request_type(
            id=call.id,
            task=call.name,
            args=call.args,
            kwargs=call.kwargs,
            retries=call.retries,
            eta=call.eta,
            expires=call.expires,
            root_id=call.root_id,
            parent_id=call.parent_id,
            group=call.group,
            group_index=headers.get("group_index"),
            origin=headers.get("origin"),
            shadow=headers.get("shadow"),
            argsrepr=headers.get("argsrepr"),
            kwargsrepr=headers.get("kwargsrepr"),
            timelimit=self.limits or headers.get("timelimit") or (None, None),
            replaced_task_nesting=headers.get("replaced_task_nesting") or 0,
            stamped_headers=headers.get("stamped_headers"),
            stamps=headers.get("stamps") or {},
            callbacks=call.embed.get("callbacks"),
            errbacks=call.embed.get("errbacks"),
            chain=call.embed.get("chain"),
            chord=call.embed.get("chord"),
            headers=headers,
            properties=call.properties,
            delivery_info={
                "routing_key": self.queue,
                "redelivered": self.redelivered,
                "priority": call.properties.get("priority"),
            },
            deliveries=self.deliveries,
            hostname=self.hostname,
            reply_to=call.properties.get("reply_to"),
            correlation_id=call.properties.get("correlation_id"),
            ignore_result=self.ignore_result,
            is_eager=self.is_eager,
            called_directly=False,
        )
