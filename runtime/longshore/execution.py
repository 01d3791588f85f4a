"""One run of one task in this process: handlers in Celery's order, exceptions turned into an `Outcome`.

Knows nothing of brokers or claims: what the outcome means for the message is decided by `longshore.core.settle`.
"""

from __future__ import annotations

import inspect
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore import signals
from longshore.core.backoff import retry_delay
from longshore.core.settle import (
    FAILURE,
    RETRY,
    SUCCESS,
    Failed,
    Ignored,
    Outcome,
    Rejected,
    ReplacedBy,
    Retried,
    Stopped,
    Succeeded,
    next_try,
)
from longshore.describing import describe
from longshore.exceptions import (
    Ignore,
    Reject,
    Replaced,
    Retry,
)
from longshore.message import dump_body
from longshore.request import ExceptionInfo, Request, current_run
from longshore.run import Guard, Run
from longshore.task import Task

logger = logging.getLogger(__name__)


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
