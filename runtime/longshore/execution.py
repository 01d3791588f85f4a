"""One run of one task in this process: handlers in Celery's order, exceptions turned into an `Outcome`.

Knows nothing of brokers or claims: what the outcome means for the message is decided by `longshore.core.settle`.
"""

from __future__ import annotations

import inspect
import logging
import random
import traceback
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, Self

from longshore import signals
from longshore.core.backoff import retry_delay
from longshore.core.limits import NO_LIMITS, Limits
from longshore.core.protocol import TaskCall
from longshore.core.settle import (
    FAILURE,
    RETRY,
    SUCCESS,
    Failed,
    Failure,
    Ignored,
    Outcome,
    Rejected,
    ReplacedBy,
    Retried,
    Stopped,
    Succeeded,
    next_try,
)
from longshore.exceptions import (
    Ignore,
    MaxRetriesExceededError,
    Reject,
    Replaced,
    Retry,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)
from longshore.message import Message, dump_body
from longshore.task import ExceptionInfo, Request, Task, current_run

logger = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True)
class Execution:
    """How a run ended: the outcome, and the exception itself for whoever is in the same process."""

    outcome: Outcome
    error: BaseException | None = None


IGNORED, REJECTED = "IGNORED", "REJECTED"
"""What `task_postrun` is told of a run that recorded no state."""
_RETURNED_NOTHING = Execution(Succeeded(None))


def execute(task: Task, run: Run) -> Execution:
    """Run a task once, in this thread. Never raises what the task raised."""
    token = current_run.set(run)
    try:
        try:
            value = _called(task, run) if run.guard is None else _called_guarded(task, run, run.guard)
            if inspect.iscoroutine(value):
                value = _await(value)
        except BaseException as error:  # noqa: BLE001 - a task may raise anything; SystemExit ends it, not the worker
            return _ended_by(task, run, error)
        return _returned(task, run, value)
    finally:
        current_run.reset(token)


async def execute_async(task: Task, run: Run) -> Execution:
    """Run a task once on the running event loop; a plain function runs in a thread beside it."""
    token = current_run.set(run)
    try:
        try:
            value = await _called_beside_the_loop(task, run)
        except BaseException as error:  # noqa: BLE001 - as above
            return _ended_by(task, run, error)
        return _returned(task, run, value)
    finally:
        current_run.reset(token)


def _called(task: Task, run: Run) -> Any:
    call = run.call
    if signals.task_prerun.receivers:
        signals.task_prerun.send(task, task_id=call.id, task=task, args=call.args, kwargs=call.kwargs)
    if "before_start" in task.handlers:
        task.before_start(call.id, call.args, call.kwargs)
    return task.run(*call.args, **call.kwargs)


def _called_guarded(task: Task, run: Run, guard: Guard) -> Any:
    with guard:
        value = _called(task, run)
        return _await(guard.interruptible(value)) if inspect.iscoroutine(value) else value


async def _called_beside_the_loop(task: Task, run: Run) -> Any:
    guard = run.guard
    if inspect.iscoroutinefunction(task.run):
        coroutine = _called(task, run)
        return await (coroutine if guard is None else guard.interruptible(coroutine))
    import asyncio  # a process without coroutine tasks never loads it

    if guard is not None:
        return await asyncio.to_thread(_called_guarded, task, run, guard)
    value = await asyncio.to_thread(_called, task, run)
    return await value if inspect.isawaitable(value) else value


def _await(coroutine: Coroutine[Any, Any, Any]) -> Any:
    import asyncio  # a process without coroutine tasks never loads it

    return asyncio.run(coroutine)


def _returned(task: Task, run: Run, value: Any) -> Execution:
    call = run.call
    if value is not None:
        try:
            dump_body(value)  # a result that cannot be stored is the task's failure, found while its request is known
        except (TypeError, ValueError, RecursionError) as error:
            return _failed(task, run, error)
    if "on_success" in task.handlers:
        _handler(task, task.on_success, value, call.id, call.args, call.kwargs)
    if run.request_type is not Request:
        _handler(task, run.request.on_success, value)
    if signals.task_success.receivers:
        signals.task_success.send(task, result=value)
    _ended(task, run, SUCCESS, value, None)
    return _RETURNED_NOTHING if value is None else Execution(Succeeded(value))


def _ended_by(task: Task, run: Run, error: BaseException) -> Execution:
    if run.stopped:
        return Execution(Stopped(), error)
    match error:
        case Replaced():
            return _replaced(task, run, error)
        case Ignore():
            _tell_postrun(task, run, IGNORED, error)
            return Execution(Ignored())
        case Reject():
            _tell_postrun(task, run, REJECTED, error)
            return Execution(Rejected(str(error.reason), error.requeue), error)
        case Retry():
            return _retried(task, run, error)
        case _:
            return _raised(task, run, error)


def _replaced(task: Task, run: Run, signal: Replaced) -> Execution:
    try:
        dump_body(signal.signature)  # what cannot be sent is the task's failure
    except (TypeError, ValueError, RecursionError) as error:
        return _failed(task, run, error)
    _tell_postrun(task, run, IGNORED, signal)
    return Execution(ReplacedBy(signal.signature))


def _raised(task: Task, run: Run, error: BaseException) -> Execution:
    if task.should_autoretry(error):
        try:
            return _retried(task, run, _auto_retry(task, run, error))
        except BaseException as final:  # noqa: BLE001 - the tries are used up: `final` is the task's exception
            error = final
    return _failed(task, run, error)


def _auto_retry(task: Task, run: Run, error: BaseException) -> Retry:
    """With a back-off that decides the delay, otherwise `retry_kwargs` may say `countdown`; as in Celery."""
    options = dict(task.retry_kwargs)
    if task.retry_backoff:
        options["countdown"] = retry_delay(task.retry_policy, run.call.retries, random.random())
    return task.retry(exc=error, throw=False, **options)


def _retried(task: Task, run: Run, signal: Retry) -> Execution:
    call = run.call
    due = _due(signal.when)
    body = None
    if signal.arguments is not None:
        args, kwargs = signal.arguments
        body = dump_body([list(call.args if args is None else args), dict(call.kwargs if kwargs is None else kwargs),
                          call.embed])  # fmt: skip
    error = signal.exc or signal
    failure = describe(error)
    message = next_try(run.message, call, due, body=body)
    einfo = ExceptionInfo(error, failure.traceback)
    _handler(task, task.on_retry, error, call.id, call.args, call.kwargs, einfo)
    _handler(task, run.request.on_retry, einfo)
    signals.task_retry.send(task, request=run.request, reason=signal, einfo=einfo)
    _ended(task, run, RETRY, error, einfo)
    return Execution(Retried(failure, message, signal.queue or run.queue, due.timestamp()), signal)


def _due(when: Any) -> datetime:
    if isinstance(when, datetime):
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return datetime.now(UTC) + timedelta(seconds=float(when or 0))


def _failed(task: Task, run: Run, error: BaseException) -> Execution:
    call = run.call
    failure = describe(error)
    einfo = ExceptionInfo(error, failure.traceback)
    _handler(task, task.on_failure, error, call.id, call.args, call.kwargs, einfo)
    _handler(task, run.request.on_failure, einfo)
    signals.task_failure.send(
        task,
        task_id=call.id,
        exception=error,
        args=call.args,
        kwargs=call.kwargs,
        traceback=error.__traceback__,
        einfo=einfo,
    )
    _ended(task, run, FAILURE, error, einfo)
    return Execution(Failed(failure), error)


def _ended(task: Task, run: Run, status: str, value: Any, einfo: ExceptionInfo | None) -> None:
    if "after_return" in task.handlers:
        _handler(task, task.after_return, status, value, run.call.id, run.call.args, run.call.kwargs, einfo)
    _tell_postrun(task, run, status, value)


def _tell_postrun(task: Task, run: Run, status: str, value: Any) -> None:
    if signals.task_postrun.receivers:
        call = run.call
        signals.task_postrun.send(
            task, task_id=call.id, task=task, args=call.args, kwargs=call.kwargs, retval=value, state=status
        )


def _handler(task: Task, handler: Callable[..., None], *args: Any) -> None:
    """Call a user's handler; what it raises is logged and changes nothing about the task's end."""
    try:
        handler(*args)
    except Exception:  # it is the user's code
        logger.exception("handler %s of task %s raised", handler.__name__, task.name)


_CELERYS = frozenset(
    {
        Ignore,
        MaxRetriesExceededError,
        Reject,
        Retry,
        SoftTimeLimitExceeded,
        TaskRevokedError,
        TimeLimitExceeded,
        WorkerLostError,
    }
)
"""Celery's clients know these by their names, in `celery.exceptions`."""


def describe(error: BaseException) -> Failure:
    """Return an exception as it is stored: arguments that JSON cannot hold become their repr."""
    module = type(error).__module__
    if type(error) in _CELERYS:
        module = "celery.exceptions"
    return Failure(
        type=type(error).__qualname__,
        module=module,
        args=[_plain(arg) for arg in error.args],
        text=_shown(error, str),
        traceback="".join(traceback.format_exception(error)),
    )


def _plain(value: Any) -> Any:
    try:
        dump_body(value)
    except (TypeError, ValueError, RecursionError):
        return _shown(value, repr)
    return value


def _shown(value: Any, show: Callable[[Any], str]) -> str:
    """Return how a value shows itself; one that raises when it is asked must not take the worker with it."""
    try:
        return show(value)
    except Exception:  # noqa: BLE001 - it is the user's code
        return f"<{type(value).__name__} that cannot be shown>"
