"""Results of several tasks as one: sets and groups, and the guard against tasks that wait for each other.

Knows results only by what they can be asked; the classes of single results are in `longshore.result`.
"""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from longshore.apps import apps
from longshore.exceptions import BackendError, WouldBlock
from longshore.request import current_run
from longshore.results.port import GroupBackend

if TYPE_CHECKING:
    from longshore.app import Longshore

_may_wait: contextvars.ContextVar[bool] = contextvars.ContextVar("longshore_may_wait", default=False)


@contextlib.contextmanager
def allow_join_result() -> Iterator[None]:
    """Let a task wait for others in this block: only where another pool runs those."""
    token = _may_wait.set(True)
    try:
        yield
    finally:
        _may_wait.reset(token)


def assert_will_not_block() -> None:
    """Raise `WouldBlock` inside a task, unless it is allowed to wait."""
    if current_run.get() is not None and not _may_wait.get():
        raise WouldBlock(
            "never call result.get() within a task: it can deadlock the pool; make it a chain or a chord, "
            "or pass disable_sync_subtasks=False"
        )


class ResultSet:
    """Several results."""

    def __init__(self, results: Iterable[Any], *, app: Longshore | None = None) -> None:
        self.results = list(results)
        self._app = app

    @property
    def app(self) -> Longshore:
        """Its app: the one given, that of its first result, or the current one."""
        if self._app is None:
            self._app = self.results[0].app if self.results else apps.require()
        return self._app

    # -- members -----------------------------------------------------------------------------------------------------

    def add(self, result: Any) -> None:
        """Add a result, unless it is there."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Remove a result, or the one with this id; `KeyError` when it is not there."""
        try:
            self.results.remove(self.app.AsyncResult(result) if isinstance(result, str) else result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """As `remove`, without the error."""
        with contextlib.suppress(KeyError):
            self.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Add several."""
        for result in results:
            self.add(result)

    def clear(self) -> None:
        """Remove all."""
        self.results.clear()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index: int) -> Any:
        return self.results[index]

    def __eq__(self, other: object) -> bool:
        return other.results == self.results if isinstance(other, ResultSet) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # its members change

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(result.id for result in self.results)}]>"

    # -- states ------------------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether all have ended."""
        return all(result.ready() for result in self.results)

    def waiting(self) -> bool:
        """Whether some have not ended."""
        return not self.ready()

    def successful(self) -> bool:
        """Whether all have ended well."""
        return all(result.successful() for result in self.results)

    def failed(self) -> bool:
        """Whether one has failed."""
        return any(result.failed() for result in self.results)

    def completed_count(self) -> int:
        """How many have ended well."""
        return sum(result.successful() for result in self.results)

    # -- values ------------------------------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        interval: float | None = None,
    ) -> list[Any]:
        """Wait for all and return their values in order, or raise the first exception (`propagate`).

        With a `callback` each value goes there with its id, and the list is empty.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        ends = None if timeout is None else time.monotonic() + timeout
        values = []
        for result in self.results:
            left = None if ends is None else max(ends - time.monotonic(), 0.0)
            value = result.get(timeout=left, propagate=propagate, disable_sync_subtasks=False, interval=interval)
            if callback:
                callback(result.id, value)
            else:
                values.append(value)
        return values

    join = join_native = get

    def maybe_throw(self, callback: Callable[[str, Any], Any] | None = None, propagate: bool = True) -> None:
        """Raise the exception of one that failed."""
        for result in self.results:
            result.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw

    def __await__(self) -> Generator[Any, None, list[Any]]:
        async def values() -> list[Any]:
            return [await result for result in self.results]

        return values().__await__()

    def forget(self) -> None:
        """Remove the stored states of all."""
        for result in self.results:
            result.forget()

    def revoke(self, terminate: bool = False, signal: str = "SIGTERM", **options: Any) -> Any:
        """Tell the workers not to run what has not started; with `terminate`, to end what runs."""
        ids = [result.id for result in self.results]
        return self.app.control.revoke(ids, terminate=terminate, signal=signal, **options)


class GroupResult(ResultSet):
    """The results of a group, under its id."""

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - Celery's name
        results: Iterable[Any] = (),
        parent: Any = None,
        *,
        app: Longshore | None = None,
    ) -> None:
        super().__init__(results, app=app)
        self.id = id
        self.parent = parent

    @property
    def children(self) -> list[Any]:
        """Its members."""
        return self.results

    def as_tuple(self) -> Any:
        """Return it as Celery stores it."""
        return (self.id, self.parent and self.parent.as_tuple()), [result.as_tuple() for result in self.results]

    def save(self) -> None:
        """Keep the ids of its members in the result backend, to be found by `restore`."""
        self.group_backend().save_group(str(self.id), self.as_tuple(), expires=self.app.conf.result_expires)

    def delete(self) -> None:
        """Remove what `save` kept."""
        self.group_backend().delete_group(str(self.id))

    @classmethod
    def restore(cls, id: str, app: Longshore | None = None) -> Any:  # noqa: A002 - Celery's name
        """Return the group that was saved under this id, or `None`."""
        app = app or apps.require()
        kept = cls(id, app=app).group_backend().restore_group(id)
        return None if kept is None else app.result_from_tuple(kept)

    def group_backend(self) -> GroupBackend:
        """The result backend, if it keeps groups."""
        backend = self.app.backend
        if not isinstance(backend, GroupBackend):
            raise BackendError("this result backend keeps no groups")
        return backend

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return (other.id, other.results, other.parent) == (self.id, self.results, self.parent)
        return NotImplemented

    def __hash__(self) -> int:  # type: ignore[override]  # it has an id
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<GroupResult: {self.id} [{', '.join(str(result.id) for result in self.results)}]>"

    def __str__(self) -> str:
        return str(self.id)
