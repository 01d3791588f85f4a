"""A handle on a task that was sent: its state, its value, its exception."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from longshore import exceptions
from longshore.core.settle import FAILURE, PENDING, READY_STATES, REVOKED, SUCCESS
from longshore.exceptions import ImproperlyConfigured, LongshoreError, TaskRevokedError, TimeoutError  # noqa: A004
from longshore.results.port import ResultMeta
from longshore.task import current_request

if TYPE_CHECKING:
    from longshore.app import Longshore


class AsyncResult:
    """The result of one call, by its id. Asking needs a result backend; having the id does not."""

    def __init__(self, task_id: str, *, app: Longshore, parent: AsyncResult | None = None) -> None:
        self.id = task_id
        self.app = app
        self.parent = parent
        self._final: ResultMeta | None = None

    @property
    def task_id(self) -> str:
        """The same as `id`."""
        return self.id

    def _meta(self) -> ResultMeta:
        if self._final is not None:
            return self._final
        meta = self.app.backend.fetch([self.id])[0] or ResultMeta(task_id=self.id, status=PENDING)
        return self._keep(meta)

    def _keep(self, meta: ResultMeta) -> ResultMeta:
        if meta.status in READY_STATES:
            self._final = meta
        return meta

    @property
    def state(self) -> str:
        """PENDING (also of an unknown id), STARTED, RETRY, SUCCESS, FAILURE, REVOKED, or a state of the task's own."""
        return self._meta().status

    status = state

    @property
    def result(self) -> Any:
        """The value, or the exception of a task that failed."""
        meta = self._meta()
        return rebuild_exception(meta.result) if meta.status in {FAILURE, REVOKED} else meta.result

    @property
    def traceback(self) -> str | None:
        """The traceback of a task that failed, as text."""
        return self._meta().traceback

    def ready(self) -> bool:
        """Whether the task has ended."""
        return self._meta().status in READY_STATES

    def successful(self) -> bool:
        """Whether the task has ended well."""
        return self._meta().status == SUCCESS

    def failed(self) -> bool:
        """Whether the task failed for good."""
        return self._meta().status == FAILURE

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
    ) -> Any:
        """Wait for the end and return the value, or raise the task's exception (`propagate`).

        Raises `longshore.exceptions.TimeoutError` after `timeout` seconds, and refuses to wait inside a task: a pool
        whose tasks wait for each other stands still.
        """
        if disable_sync_subtasks and not current_request().called_directly:
            raise ImproperlyConfigured("never call result.get() within a task: it can deadlock the pool")
        meta = self._final or self.app.backend.wait(self.id, timeout)
        if meta is None:
            raise TimeoutError(f"task {self.id} did not end within {timeout} s")
        self._keep(meta)
        if propagate and meta.status in {FAILURE, REVOKED}:
            raise rebuild_exception(meta.result)
        value = self.result
        if callback:
            callback(self.id, value)
        return value

    wait = get

    async def aget(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - the same arguments as `get`
        propagate: bool = True,
        disable_sync_subtasks: bool = True,
    ) -> Any:
        """As `get`, without blocking the event loop; ``await result`` is its short form."""
        if disable_sync_subtasks and not current_request().called_directly:
            raise ImproperlyConfigured("never await a result within a task: it can deadlock the pool")
        if self._final is None:
            import asyncio

            try:
                self._keep(await asyncio.wait_for(self.app.awaiter.end_of(self.id), timeout))
            except builtins.TimeoutError:
                raise TimeoutError(f"task {self.id} did not end within {timeout} s") from None
        return self.get(propagate=propagate, disable_sync_subtasks=False)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the end: ``value = await add.delay(2, 2)``."""
        return self.aget().__await__()

    def revoke(self, terminate: bool = False, signal: str = "SIGTERM", **options: Any) -> Any:
        """Tell the workers not to run it; with `terminate`, to end it where it runs."""
        return self.app.control.revoke(self.id, terminate=terminate, signal=signal, **options)

    def forget(self) -> None:
        """Remove the stored state."""
        self._final = None
        self.app.backend.forget([self.id])

    def __repr__(self) -> str:
        return f"<AsyncResult: {self.id}>"

    def __str__(self) -> str:
        return self.id

    def __eq__(self, other: object) -> bool:
        return other.id == self.id if isinstance(other, AsyncResult) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)


class EagerResult(AsyncResult):
    """The result of a task that ran in the caller."""

    def __init__(self, meta: ResultMeta, *, app: Longshore, error: BaseException | None = None) -> None:
        super().__init__(meta.task_id, app=app)
        self._final = meta
        self._value = error if error is not None else meta.result

    @property
    def result(self) -> Any:
        """The value itself, or the exception itself."""
        return self._value

    def get(
        self,
        timeout: float | None = None,  # noqa: ARG002 - it is there already
        propagate: bool = True,
        disable_sync_subtasks: bool = True,  # noqa: ARG002 - nothing waits
        callback: Callable[[str, Any], Any] | None = None,
    ) -> Any:
        """Return the value, or raise what the task raised."""
        if propagate and isinstance(self._value, BaseException):
            raise self._value
        if callback:
            callback(self.id, self._value)
        return self._value

    def forget(self) -> None:
        """Nothing is stored."""


class RemoteTaskError(LongshoreError):
    """Stands for an exception of a task whose class is not to be had here; `args` are its arguments."""


def rebuild_exception(stored: Any) -> BaseException:
    """Return the exception of a stored failure: a built-in or one of ours as itself, any other by a stand-in class
    of the same name. Nothing is imported on a stored word: a result must not run code in its reader.
    """
    if not isinstance(stored, dict) or "exc_type" not in stored:
        return RemoteTaskError(str(stored))
    name, module = str(stored["exc_type"]), str(stored.get("exc_module") or "")
    args = stored.get("exc_message")
    args = args if isinstance(args, list | tuple) else [args]
    known = _known_exception(name, module)
    if known is not None:
        try:
            return known(*args)
        except TypeError:
            pass
    if name == "TaskRevokedError":
        return TaskRevokedError(*args)
    stand_in: BaseException = type(name, (RemoteTaskError,), {"__module__": module or __name__})(*args)
    return stand_in


_HOMES = {
    "builtins": builtins,
    "exceptions": builtins,
    "celery.exceptions": exceptions,
    exceptions.__name__: exceptions,
}


def _known_exception(name: str, module: str) -> type[BaseException] | None:
    candidate: object = getattr(_HOMES.get(module), name, None)
    if isinstance(candidate, type) and issubclass(candidate, BaseException):
        return candidate
    return None
