"""The work queue, with the semantics of client-go's: a key is handled by one worker at a time and never forgotten.

A key that is added while it is handled is handled once more afterwards; added twice while it waits, once. Delays and
back-off are per key. Knows keys and the loop's clock; knows nothing of what a key means.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

BACKOFF_FIRST_SECONDS = 0.05
BACKOFF_LAST_SECONDS = 30.0

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys that want a look. Used within one event loop."""

    def __init__(self) -> None:
        self._ready: dict[K, None] = {}
        self._in_flight: set[K] = set()
        self._again: set[K] = set()
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._sequence = 0
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        """Have `key` handled as soon as a worker is free."""
        if key in self._in_flight:
            self._again.add(key)
            return
        self._ready.setdefault(key)
        self._changed.set()

    def add_after(self, key: K, delay: float) -> None:
        """Have `key` handled after `delay` seconds; of several times the earliest counts."""
        if delay <= 0:
            self.add(key)
            return
        due = asyncio.get_running_loop().time() + delay
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._sequence += 1
            heapq.heappush(self._timers, (due, self._sequence, key))
            self._changed.set()

    def add_failed(self, key: K) -> float:
        """Have `key` handled again after its back-off; return that delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(BACKOFF_FIRST_SECONDS * 2.0 ** min(failures, 20), BACKOFF_LAST_SECONDS)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Start the back-off of `key` anew: it succeeded."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for a key and take it; the caller must call `done` afterwards."""
        while True:
            self._promote()
            if self._ready:
                key = next(iter(self._ready))
                del self._ready[key]
                self._in_flight.add(key)
                return key
            await self._wait()

    def done(self, key: K) -> None:
        """End the handling of `key`; it is handled again if it was added meanwhile."""
        self._in_flight.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _promote(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._timers and self._timers[0][0] <= now:
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)

    async def _wait(self) -> None:
        self._changed.clear()
        delay = self._timers[0][0] - asyncio.get_running_loop().time() if self._timers else None
        try:
            async with asyncio.timeout(delay):
                await self._changed.wait()
        except TimeoutError:
            return
