"""A task: a function under a name that workers know, and the ways to call it.

The public names are Celery's. A task object is made once per process; what belongs to one run is in `request`, which
is a context variable, so that threads and coroutines each see their own.
"""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from longshore.composing import Composing
from longshore.core.backoff import retry_delay
from longshore.core.limits import NO_LIMITS, Limits
from longshore.core.locks import DEFAULT_TIMEOUT_SECONDS, LockPolicy, check_template, lock_policy
from longshore.core.ratelimit import parse_rate
from longshore.exceptions import ImproperlyConfigured, MaxRetriesExceededError, Reject, Retry
from longshore.policy import AckPolicy, RetryPolicy
from longshore.request import ExceptionInfo, Request, current_request, current_run

if TYPE_CHECKING:
    from longshore.app import Longshore
    from longshore.result import AsyncResult

_UNSET: Any = object()
_HANDLERS = ("before_start", "on_success", "on_retry", "on_failure", "after_return")


class Task(Composing):
    """Base of every task. Subclass it (`base=`, `task_cls=`) for handlers or attributes kept for a process's life."""

    Request: type[Request] = Request
    """The class of `self.request`; one of your own may carry more, and is told how runs end."""

    app: Longshore
    name: str
    origin: str = ""
    """Where the function stands, ``file:line``; a duplicate name names both places."""

    queue: str | None = None
    priority: int | None = None
    max_retries: int | None = 3
    default_retry_delay: float = 180.0
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: Mapping[str, Any] = {}
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600.0
    retry_jitter: bool = True
    acks_late: bool | None = None
    acks_on_failure_or_timeout: bool | None = None
    reject_on_worker_lost: bool | None = None
    """With late acks: run again what a dying process was running. Explicitly false, it failed: WorkerLostError."""
    time_limit: float | None = None
    """Seconds after which the process that runs it is ended: TimeLimitExceeded."""
    soft_time_limit: float | None = None
    """Seconds after which `SoftTimeLimitExceeded` is raised inside it."""
    serializer: str | None = None
    """json, yaml or msgpack; the app's `task_serializer` where it is not said."""
    compression: str | None = None
    """gzip, bzip2 or lzma; the app's `task_compression` where it is not said."""
    track_started: bool | None = None
    ignore_result: bool | None = None
    trail: bool = True
    """Whether the tasks that a run sends are kept with its result, as its `children`."""
    throws: tuple[type[BaseException], ...] = ()
    """Expected exceptions: logged in one line, without a traceback."""
    expires: float | datetime | None = None
    lock: Any = None
    """Name of a lock that a run holds, with the call's arguments (``"report:{data_id}"``), a function of them, or
    `True` for one lock of the whole task. Who cannot have it waits in the broker."""
    lock_timeout: float = DEFAULT_TIMEOUT_SECONDS
    """After so many seconds the lock of a worker that vanished is free; while its task runs it is renewed."""
    lock_blocking_timeout: float | None = None
    """How long a call waits for its lock before it fails with `LockNotAcquired`; `None` for ever, 0 not at all."""
    rate_limit: str | float | None = None
    """At most so many runs, over all workers: ``"100/m"``, ``"10/s"``, ``"1000/h"``, or a number a second."""
    idempotency_key: Any = None
    """Name bound to the arguments, or a function of them: of several calls with one key, one runs."""

    pydantic: bool = False
    """Validate arguments whose annotations are pydantic models, and dump a model that is returned."""
    pydantic_strict: bool | None = None
    pydantic_context: Mapping[str, Any] | None = None
    pydantic_dump_kwargs: Mapping[str, Any] | None = None

    handlers: frozenset[str] = frozenset()
    """Names of the handlers that this class does not inherit from `Task`: only these are called."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.handlers = frozenset(name for name in _HANDLERS if getattr(cls, name) is not getattr(Task, name))

    def run(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - a subclass says what it takes
        """Do the work; the decorated function takes this place."""
        raise ImproperlyConfigured(f"task {self.name} has no run()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run in this process; sends nothing."""
        return self.run(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<@task: {self.name}>"

    # -- calling -----------------------------------------------------------------------------------------------------

    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """Send the task: the short form of `apply_async(args, kwargs)`."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult:
        """Send the task; options are those of `Longshore.send_task`: queue, countdown, eta, priority, task_id, etc.

        Arguments that the function cannot take are a `TypeError` here, not in a worker.
        """
        args, kwargs = args or (), kwargs or {}
        self.check_arguments(args, kwargs)
        if self.app.conf.task_always_eager:
            return self.apply(args, kwargs, **options)
        return self.app.send_task(self.name, args, kwargs, **{**self.defaults(), **options})

    async def adelay(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """Send the task from a coroutine: the short form of `aapply_async(args, kwargs)`."""
        return await self.aapply_async(args, kwargs)

    async def aapply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult:
        """Do what `apply_async` does, without blocking the event loop; returns when the broker has the message."""
        args, kwargs = args or (), kwargs or {}
        self.check_arguments(args, kwargs)
        if self.app.conf.task_always_eager:
            return self.apply(args, kwargs, **options)
        return await self.app.asend_task(self.name, args, kwargs, **{**self.defaults(), **options})

    def defaults(self) -> dict[str, Any]:
        """Return the options that the task itself says."""
        named = ("queue", "priority", "expires", "serializer", "compression")
        return {name: value for name in named if (value := getattr(self, name)) is not None}

    def apply(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult:
        """Run the task here and now, as a worker would, with all that follows it, and return its result."""
        result: AsyncResult = self.signature(args, kwargs).apply(**options)
        return result

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise `TypeError` when the function cannot be called with these arguments."""
        signature = self._signature()
        if signature is None or (not kwargs and len(args) in self._positional()):
            return
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"task {self.name}{signature}: {error}") from None

    def _signature(self) -> inspect.Signature | None:
        cached = self.__dict__.get("_signature_cache", _UNSET)
        if cached is _UNSET:
            try:
                cached = inspect.signature(self.run)
            except (TypeError, ValueError):  # a builtin without one: the worker will tell
                cached = None
            self.__dict__["_signature_cache"] = cached
        found: inspect.Signature | None = cached
        return found

    def _positional(self) -> range:
        """Return how many arguments a call may have that names none."""
        cached: range | None = self.__dict__.get("_positional_cache")
        if cached is None:
            cached = self.__dict__["_positional_cache"] = _positional_counts(self._signature())
        return cached

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by name, defaults included."""
        signature = self._signature()
        if signature is None:
            return dict(kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def check_options(self) -> None:
        """Raise `ImproperlyConfigured` for an option that cannot work, when the task is made."""
        parse_rate(self.rate_limit)
        lock_policy(self.name, self.lock, self.lock_timeout, self.lock_blocking_timeout)
        signature = self._signature()
        if signature is not None:
            check_template(self.lock, "lock", self.name, signature.parameters)
            check_template(self.idempotency_key, "idempotency_key", self.name, signature.parameters)

    @property
    def lock_policy(self) -> LockPolicy | None:
        """The task's lock, as a value."""
        return lock_policy(self.name, self.lock, self.lock_timeout, self.lock_blocking_timeout)

    def AsyncResult(self, task_id: str) -> AsyncResult:  # noqa: N802 - Celery's name
        """Return the result of a call of this task, by id."""
        return self.app.AsyncResult(task_id)

    # -- running -----------------------------------------------------------------------------------------------------

    @property
    def request(self) -> Any:
        """The call that runs now, a `Request`; outside a run it is empty and `called_directly`."""
        return current_request()

    def acknowledge(self) -> None:
        """Acknowledge the message now: when this returns, the task is never run again, whatever happens to its process.

        For a late-acked task that has come to the point that must not be repeated: what comes before may run twice,
        what comes after at most once. Retries, results and dead letters go on as before. Raises `BrokerError` when the
        broker does not answer; then the message may or may not be acknowledged. Outside a worker it does nothing.
        """
        run = current_run.get()
        if run is not None:
            run.acknowledge()

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        *,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: Any = _UNSET,
        queue: str | None = None,
    ) -> Retry:
        """Try this task again later: ``raise self.retry(exc=exc, countdown=10)``.

        The same id and queue, a new message. When the tries are used up, raises `exc`, or `MaxRetriesExceededError`.
        """
        if isinstance(args, BaseException):
            raise TypeError("retry() got an exception as `args`; write self.retry(exc=…)")
        request = self.request
        if request.called_directly:
            self._raise_outside_a_run(exc)
        limit = self.max_retries if max_retries is _UNSET else max_retries
        if limit is not None and request.retries >= limit:
            raise exc or MaxRetriesExceededError(f"task {self.name}[{request.id}] was retried {request.retries} times")
        if eta is None and countdown is None:
            countdown = retry_delay(self.retry_policy, request.retries, random.random())
        when: Any = eta if eta is not None else countdown
        signal = Retry(None, exc, when)
        signal.__cause__ = exc
        signal.arguments = None if args is None and kwargs is None else (args, kwargs)
        signal.queue = queue
        if throw:
            raise signal
        return signal

    def _raise_outside_a_run(self, exc: BaseException | None) -> NoReturn:
        if exc is not None:
            raise exc
        raise ImproperlyConfigured(f"retry() of {self.name} outside a run: the task was called as a function")

    @property
    def retry_policy(self) -> RetryPolicy:
        """How this task is retried, as a value."""
        return RetryPolicy(
            max_retries=self.max_retries,
            default_delay=self.default_retry_delay,
            backoff=float(self.retry_backoff) if self.retry_backoff else None,
            backoff_max=self.retry_backoff_max,
            jitter=self.retry_jitter,
        )

    def ack_policy(self, *, late_by_default: bool) -> AckPolicy:
        """How this task is acknowledged: its own word, then the app's, then the pool's."""
        conf = self.app.conf
        late = self.acks_late
        if late is None:
            late = conf.task_acks_late or late_by_default
        on_failure, on_loss = self.acks_on_failure_or_timeout, self.reject_on_worker_lost
        return AckPolicy(
            late=late,
            on_failure_or_timeout=conf.task_acks_on_failure_or_timeout if on_failure is None else on_failure,
            reject_on_worker_lost=conf.task_reject_on_worker_lost if on_loss is None else on_loss,
        )

    @property
    def limits(self) -> Limits:
        """Its time limits: its own, else the app's."""
        conf = self.app.conf
        hard = conf.task_time_limit if self.time_limit is None else self.time_limit
        soft = conf.task_soft_time_limit if self.soft_time_limit is None else self.soft_time_limit
        return Limits(hard or None, soft or None) if hard or soft else NO_LIMITS

    def should_autoretry(self, error: BaseException) -> bool:
        """Whether `autoretry_for` asks for another try after this exception."""
        if isinstance(error, Retry | Reject) or not self.autoretry_for:
            return False
        return isinstance(error, tuple(self.autoretry_for)) and not isinstance(error, tuple(self.dont_autoretry_for))

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None) -> None:
        """Store a state of one's own, such as ``PROGRESS`` with a meta."""
        self.app.store_state(task_id or self.request.id, state, meta, self.request)

    # -- handlers, called in Celery's order --------------------------------------------------------------------------

    def before_start(self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called by the worker before the run."""

    def on_success(self, retval: Any, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called by the worker after a run that returned."""

    def on_retry(
        self,
        exc: BaseException | None,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo,
    ) -> None:
        """Called by the worker when the task is to be tried again."""

    def on_failure(
        self, exc: BaseException, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any], einfo: ExceptionInfo
    ) -> None:
        """Called by the worker when the task failed for good."""

    def after_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo | None,
    ) -> None:
        """Called by the worker after every run, whatever its end."""


def due_time(countdown: float | None, eta: datetime | None, now: datetime) -> datetime | None:
    """Return when a call is due, in UTC; a naive `eta` is UTC."""
    if countdown is not None:
        return now + timedelta(seconds=countdown)
    if eta is None:
        return None
    return eta.replace(tzinfo=UTC) if eta.tzinfo is None else eta.astimezone(UTC)


def function_origin(function: Callable[..., Any]) -> str:
    """Return ``file:line`` of a function, for messages about it."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def _positional_counts(signature: inspect.Signature | None) -> range:
    """Return how many arguments this takes when none is named: an empty range where one has to be."""
    if signature is None:
        return range(0)
    required = allowed = 0
    for parameter in signature.parameters.values():
        is_required = parameter.default is parameter.empty
        if parameter.kind is parameter.VAR_POSITIONAL:
            allowed = sys.maxsize - 1
        elif parameter.kind is parameter.KEYWORD_ONLY and is_required:
            return range(0)
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            required += is_required
            allowed += 1
    return range(required, allowed + 1)
