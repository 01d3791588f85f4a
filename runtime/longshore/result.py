"""A handle on a task that was sent: its state, its value, its exception."""

from __future__ import annotations

import builtins
from collections import deque
from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from longshore.apps import apps
from longshore.core.settle import FAILURE, PENDING, READY_STATES, REVOKED, SUCCESS
from longshore.exceptions import IncompleteStream, TimeoutError  # noqa: A004
from longshore.joining import GroupResult, ResultSet, allow_join_result, assert_will_not_block
from longshore.rebuilding import RemoteTaskError, rebuild_exception
from longshore.results.port import ResultMeta

if TYPE_CHECKING:
    from longshore.app import Longshore

__all__ = [
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "RemoteTaskError",
    "ResultSet",
    "allow_join_result",
    "assert_will_not_block",
    "rebuild_exception",
    "result_from_tuple",
]


class AsyncResult:
    """The result of one call, by its id. Asking needs a result backend; having the id does not."""

    def __init__(self, task_id: str, *, app: Longshore | None = None, parent: Any = None) -> None:
        self.id = task_id
        self.app = app or apps.require()
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

    info = result

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
        interval: float | None = None,  # noqa: ARG002 - Celery's: here a result wakes who waits
    ) -> Any:
        """Wait for the end and return the value, or raise the task's exception (`propagate`).

        Raises `longshore.exceptions.TimeoutError` after `timeout` seconds, and refuses to wait inside a task: a pool
        whose tasks wait for each other stands still (`disable_sync_subtasks=False` or `allow_join_result()` waits).
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        meta = self._final or self.app.backend.wait(self.id, timeout)
        if meta is None:
            raise TimeoutError(f"task {self.id} did not end within {timeout} s")
        self._keep(meta)
        return self.maybe_throw(propagate, callback)

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Return the value as it is now, or raise the exception of a task that failed."""
        meta = self._meta()
        if propagate and meta.status in {FAILURE, REVOKED}:
            raise rebuild_exception(meta.result)
        value = self.result
        if callback:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    wait = get

    async def aget(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - the same arguments as `get`
        propagate: bool = True,
        disable_sync_subtasks: bool = True,
    ) -> Any:
        """As `get`, without blocking the event loop; ``await result`` is its short form."""
        if disable_sync_subtasks:
            assert_will_not_block()
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

    # -- what it belongs to ------------------------------------------------------------------------------------------

    @property
    def children(self) -> list[Any]:
        """The results of the tasks that this one sent, as far as they are stored."""
        return [self.app.result_from_tuple(child) for child in self._meta().children]

    def as_tuple(self) -> Any:
        """Return it as Celery stores it."""
        return (self.id, self.parent and self.parent.as_tuple()), None

    def as_list(self) -> list[str]:
        """Return its id and those of its parents."""
        return [self.id, *(self.parent.as_list() if isinstance(self.parent, AsyncResult) else ())]

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """Yield (parent, result) of it and of all that it sent; one that has not ended is an error, or its end."""
        waiting: deque[tuple[Any, Any]] = deque([(None, self)])
        while waiting:
            parent, node = waiting.popleft()
            yield parent, node
            if node.ready():
                waiting.extend((node, child) for child in node.children)
            elif not intermediate:
                raise IncompleteStream(f"{node} has not ended")

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[Any, Any]]:
        """Yield (result, value) of it and of all that it sent."""
        for _, node in self.iterdeps(intermediate):
            yield node, node.get(**options)

    def get_leaf(self) -> Any:
        """Return the value of the last of all that it sent."""
        return [node.get() for _, node in self.iterdeps()][-1]

    # -- what is stored besides --------------------------------------------------------------------------------------

    @property
    def date_done(self) -> datetime | None:
        """When it ended."""
        done = self._meta().date_done
        return datetime.fromisoformat(done) if done else None

    @property
    def name(self) -> str | None:
        """The task's name, where results are stored with it (`result_extended`)."""
        return self._meta().name

    @property
    def worker(self) -> str | None:
        """Who ran it; as `name`."""
        return self._meta().worker

    @property
    def retries(self) -> int | None:
        """How often it was retried; as `name`."""
        return self._meta().retries

    @property
    def queue(self) -> str | None:
        """Its queue; as `name`."""
        return self._meta().queue

    def forget(self) -> None:
        """Remove the stored state, and those of its parents."""
        self._final = None
        if self.parent is not None:
            self.parent.forget()
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

    def __init__(
        self, meta: ResultMeta, *, app: Longshore, error: BaseException | None = None, parent: Any = None
    ) -> None:
        super().__init__(meta.task_id, app=app, parent=parent)
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
        interval: float | None = None,  # noqa: ARG002 - as above
    ) -> Any:
        """Return the value, or raise what the task raised."""
        if propagate and isinstance(self._value, BaseException):
            raise self._value
        if callback:
            callback(self.id, self._value)
        return self._value

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Return the value, or raise what the task raised."""
        return self.get(propagate=propagate, callback=callback)

    maybe_reraise = maybe_throw

    def forget(self) -> None:
        """Nothing is stored."""


def result_from_tuple(stored: Any, app: Longshore | None = None) -> Any:
    """Return the result of a tuple as Celery stores it: ((id, parent), None), or ((id, parent), [members])."""
    if isinstance(stored, AsyncResult | ResultSet):
        return stored
    head, members = stored
    task_id, parent = head if isinstance(head, list | tuple) else (head, None)
    above = None if not parent else result_from_tuple(parent, app)
    if members is not None:
        return GroupResult(task_id, [result_from_tuple(member, app) for member in members], above, app=app)
    return AsyncResult(task_id, app=app, parent=above)
