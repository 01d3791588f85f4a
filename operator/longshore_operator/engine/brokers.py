"""Every broker that the operator knows: one connection and one thread for each address, measured in one round trip.

Broker calls block, so they run in the address's own thread, and a dead broker delays nobody else's keys. Every call has
a deadline here too, should a broker not keep its own. Addresses are secrets: they never reach a log or a message
unredacted.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import socket
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from longshore.brokers.port import Broker, Capabilities, QueueDepth, WorkerReport
from longshore.exceptions import BrokerError, BrokerRefused, ImproperlyConfigured, redact_url
from longshore_operator.api.conditions import Reason

logger = logging.getLogger(__name__)

CALL_DEADLINE_SECONDS = 10.0
MEASURE_INTERVAL_SECONDS = 1.0
MEASURE_INTERVAL_WHEN_DEAD_SECONDS = 3.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was on a broker at one moment."""

    at: float
    depths: Mapping[str, QueueDepth | None]
    workers: tuple[WorkerReport, ...]
    capabilities: Capabilities


class BrokerFailure(Exception):
    """A broker did not do what it was asked; `reason` is a condition's, the message is for a person."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def as_failure(url: str, error: BaseException) -> BrokerFailure:
    """Return the error as a condition says it."""
    where = redact_url(url)
    if isinstance(error, TimeoutError):
        return BrokerFailure(Reason.BROKER_UNAVAILABLE, f"{where} does not answer within {CALL_DEADLINE_SECONDS:g} s")
    if isinstance(error, BrokerRefused):
        return BrokerFailure(
            Reason.BROKER_REFUSED, f"{where} refuses us: {error}; check user, password and permissions"
        )
    if isinstance(error, ImproperlyConfigured):
        return BrokerFailure(Reason.BROKER_UNKNOWN, str(error))
    return BrokerFailure(Reason.BROKER_UNAVAILABLE, f"{where} does not answer: {error}{_name_hint(url, error)}")


def _name_hint(url: str, error: BaseException) -> str:
    """Return what to do about a Service's short name: it has a meaning in its own namespace only, not in ours."""
    host = urlsplit(url).hostname or ""
    unknown = isinstance(error.__cause__ or error.__context__, socket.gaierror) or "no such host" in str(error)
    if not unknown or not host or "." in host:
        return ""
    return f"; in a cluster use the Service's full name, {host}.NAMESPACE.svc"


class _Line(threading.Thread):
    """The thread that speaks with one broker, call after call. A daemon: a hung call does not hold up the exit."""

    def __init__(self, url: str, open_broker: Callable[[str], Broker]) -> None:
        super().__init__(name=f"broker {redact_url(url)}", daemon=True)
        self._url = url
        self._open = open_broker
        self._calls: queue.SimpleQueue[tuple[Callable[[Broker], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self.start()

    def ask(self, call: Callable[[Broker], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.put((call, future))
        return future

    def end(self) -> None:
        self._calls.put(None)

    def run(self) -> None:
        broker: Broker | None = None
        while (item := self._calls.get()) is not None:
            call, future = item
            if future.cancelled():
                continue
            try:
                broker = broker or self._open(self._url)
                self._answer(future, call(broker), None)
            except Exception as error:  # noqa: BLE001 - whatever a driver raises belongs to the caller
                self._answer(future, None, error)
        if broker is not None:
            broker.close()

    def _answer(self, future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        def settle() -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle)


class BrokerHub:
    """The brokers in use, by address, and the latest measurement of each."""

    def __init__(
        self,
        open_broker: Callable[[str], Broker],
        changed: Callable[[str], None],
        clock: Callable[[], float],
        measure_seconds: float = MEASURE_INTERVAL_SECONDS,
    ) -> None:
        self._measure_seconds = measure_seconds
        self._open = open_broker
        self._changed = changed
        self._clock = clock
        self._lines: dict[str, _Line] = {}
        self._watches: dict[Hashable, tuple[str, frozenset[str]]] = {}
        self._latest: dict[str, Measurement | BrokerFailure] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def watch(self, watcher: Hashable, url: str, queues: Iterable[str]) -> None:
        """Measure these queues every second, until the watcher asks for others or goes."""
        wanted = (url, frozenset(queues))
        if self._watches.get(watcher) == wanted:
            return
        self._watches[watcher] = wanted
        self._end_unwatched()
        if url not in self._tasks:
            self._tasks[url] = asyncio.create_task(self._measure_for_ever(url), name=f"measure {redact_url(url)}")

    def unwatch(self, watcher: Hashable) -> None:
        """Forget what the watcher wanted."""
        if self._watches.pop(watcher, None) is not None:
            self._end_unwatched()

    def watchers(self, url: str) -> list[Hashable]:
        """Return who watches queues of a broker."""
        return [watcher for watcher, (where, _) in self._watches.items() if where == url]

    def latest(self, url: str) -> Measurement | BrokerFailure | None:
        """Return the latest measurement, the failure of the latest try, or `None` before the first one."""
        return self._latest.get(url)

    async def call(self, url: str, call: Callable[[Broker], T]) -> T:
        """Run a blocking call in the broker's thread; raise `BrokerFailure`."""
        line = self._lines.get(url)
        if line is None:
            line = self._lines[url] = _Line(url, self._open)
        try:
            async with asyncio.timeout(CALL_DEADLINE_SECONDS):
                return await line.ask(call)
        except TimeoutError as error:
            self._abandon(url, line)
            raise as_failure(url, error) from None
        except (BrokerError, ImproperlyConfigured, OSError) as error:
            raise as_failure(url, error) from error

    async def measure(self, url: str) -> Measurement:
        """Look at the broker now."""
        names = sorted({name for where, queues in self._watches.values() if where == url for name in queues})

        def look(broker: Broker) -> Measurement:
            return Measurement(self._clock(), broker.depths(names), tuple(broker.workers()), broker.capabilities)

        measurement = await self.call(url, look)
        self._latest[url] = measurement
        return measurement

    async def close(self) -> None:
        """End every thread and connection."""
        self._watches.clear()
        self._end_unwatched()

    def _abandon(self, url: str, line: _Line) -> None:
        """A call hangs: the next one gets a new thread and connection."""
        line.end()
        if self._lines.get(url) is line:
            del self._lines[url]

    def _end_unwatched(self) -> None:
        used = {url for url, _ in self._watches.values()}
        for url in [url for url in self._lines if url not in used]:
            self._lines.pop(url).end()
        for url in [url for url in self._tasks if url not in used]:
            self._tasks.pop(url).cancel()
            self._latest.pop(url, None)

    async def _measure_for_ever(self, url: str) -> None:
        while True:
            before = self._latest.get(url)
            try:
                after: Measurement | BrokerFailure = await self.measure(url)
            except BrokerFailure as failure:
                after = self._latest[url] = failure
            except Exception as error:
                logger.exception("measuring %s failed", redact_url(url))
                after = self._latest[url] = as_failure(url, error)
            if _differs(before, after):
                self._changed(url)
            dead = isinstance(after, BrokerFailure)
            await asyncio.sleep(MEASURE_INTERVAL_WHEN_DEAD_SECONDS if dead else self._measure_seconds)


def _differs(before: Measurement | BrokerFailure | None, after: Measurement | BrokerFailure) -> bool:
    if isinstance(before, Measurement) and isinstance(after, Measurement):
        return before.depths != after.depths or _said(before.workers) != _said(after.workers)
    if isinstance(before, BrokerFailure) and isinstance(after, BrokerFailure):
        return before.reason != after.reason
    return True


def _said(workers: Iterable[WorkerReport]) -> list[tuple[Any, ...]]:
    """What the workers report, without the time at which they did."""
    return sorted((w.worker, w.busy, w.held, w.processed, w.capacity, w.draining, w.task_count) for w in workers)
