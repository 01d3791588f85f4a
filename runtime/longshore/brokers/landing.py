"""From the sender's thread into an event loop: many futures that are done at the same moment wake the loop once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from concurrent.futures import Future
from weakref import WeakKeyDictionary

_landings: WeakKeyDictionary[asyncio.AbstractEventLoop, Landing] = WeakKeyDictionary()


class Landing:
    """Where the futures of other threads come down in one event loop."""

    def __init__(self) -> None:
        self._landed: deque[tuple[asyncio.Future[None], Future[None]]] = deque()
        self._called = False

    async def wait(self, future: Future[None]) -> None:
        """Wait for a future; a coroutine that is cancelled cancels what has not begun."""
        loop = asyncio.get_running_loop()
        awaited = loop.create_future()
        future.add_done_callback(lambda done: self._land(loop, awaited, done))
        try:
            await awaited
        except asyncio.CancelledError:
            future.cancel()
            raise

    def _land(self, loop: asyncio.AbstractEventLoop, awaited: asyncio.Future[None], done: Future[None]) -> None:
        self._landed.append((awaited, done))
        if not self._called:
            self._called = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._come_down)

    def _come_down(self) -> None:
        self._called = False
        while self._landed:
            awaited, done = self._landed.popleft()
            if awaited.done():
                continue
            if done.cancelled():
                awaited.cancel()
            elif (error := done.exception()) is not None:
                awaited.set_exception(error)
            else:
                awaited.set_result(None)


async def arrival(future: Future[None]) -> None:
    """Wait in the running event loop for what another thread does."""
    loop = asyncio.get_running_loop()
    landing = _landings.get(loop)
    if landing is None:
        landing = _landings[loop] = Landing()
    await landing.wait(future)
