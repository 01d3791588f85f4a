"""A coroutine into which an exception can be raised where it waits. Loaded only where a coroutine has a soft limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Interruptible:
    """Drives a coroutine as `await` does. `interrupt`, called on its loop, raises an exception inside it.

    The event loop can only cancel; here that cancellation becomes the exception before the coroutine sees it. One that
    somebody else asked for stays what it is.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None

    def interrupt(self, error: BaseException) -> None:
        """Raise `error` at the coroutine's `await`; once it has ended nothing happens."""
        if self._task is not None:
            self._error = error
            self._task.cancel()

    def __await__(self) -> Generator[Any, Any, Any]:
        self._task = asyncio.current_task()
        try:
            return (yield from self._drive())
        finally:
            self._task = None

    def _drive(self) -> Generator[Any, Any, Any]:
        resume: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        while True:
            try:
                awaited = resume(value)
            except StopIteration as end:
                return end.value
            try:
                value = yield awaited
                resume = self._coroutine.send
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs into the coroutine
                value, resume = self._translated(error), self._coroutine.throw

    def _translated(self, error: BaseException) -> BaseException:
        if self._error is None or not isinstance(error, asyncio.CancelledError):
            return error
        assert self._task is not None
        self._task.uncancel()
        error, self._error = self._error, None
        return error
