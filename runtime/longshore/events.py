"""Events: what happens to tasks and workers, told to whoever listens just then. Names and fields are Celery's.

``app.events.Receiver(handlers={"task-failed": on_failed}).capture()`` listens; `State` keeps the picture of it. Nobody
waits for an event, and none is kept: a sender that cannot reach the broker drops them.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from longshore.brokers.control import EVERYTHING, ControlLine, Event, Names, open_control, utc_offset
from longshore.exceptions import BrokerError

if TYPE_CHECKING:
    from longshore.app import Longshore
    from longshore.brokers.port import Outgoing

logger = logging.getLogger(__name__)

_MOST_WAITING = 10_000
_TOGETHER = 20
"""Events of one message: with tracebacks they stay below what a datagram takes."""
_GATHERED_SECONDS = 0.05

EventDict = dict[str, Any]
Handler = Callable[[EventDict], object]


# -- sending ---------------------------------------------------------------------------------------------------------


class EventSender:
    """Sends from a thread of its own: `send` costs its caller a note in a list, whatever the broker does."""

    def __init__(self, open_line: Callable[[], ControlLine], hostname: str, pid: int, tick: Callable[[], int]) -> None:
        self._open_line = open_line
        self._about = {"hostname": hostname, "pid": pid, "utcoffset": utc_offset()}
        self._headers = {"hostname": hostname}
        self._tick = tick
        self._begin()

    def _begin(self) -> None:
        self._waiting: deque[EventDict] = deque(maxlen=_MOST_WAITING)
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        self._owner = os.getpid()
        self._closed = False

    def send(self, kind: str, **fields: Any) -> None:
        """Note an event; it leaves within moments, or not at all."""
        if self._owner != os.getpid():  # a fork has no threads
            self._begin()
        self._waiting.append({"type": kind, "timestamp": time.time(), **fields})
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="events", daemon=True)
            self._thread.start()
        if not self._news.is_set():
            self._news.set()

    def close(self, timeout: float = 1.0) -> None:
        """Send what waits, as far as that is possible in time, and end."""
        self._closed = True
        self._news.set()
        if self._thread is not None and self._owner == os.getpid():
            self._thread.join(timeout)

    def _run(self) -> None:
        line = self._open_line()
        is_working = True
        while not self._closed or self._waiting:
            self._news.wait()
            if not self._closed:
                time.sleep(_GATHERED_SECONDS)
            self._news.clear()
            is_working = self._send_waiting(line, is_working)
        line.close()

    def _send_waiting(self, line: ControlLine, was_working: bool) -> bool:
        while self._waiting:
            events = [self._waiting.popleft() for _ in range(min(_TOGETHER, len(self._waiting)))]
            full = [{**self._about, "clock": self._tick(), **event} for event in events]
            try:
                line.publish([Event("task.multi", full, self._headers)])
                was_working = True
            except BrokerError as error:
                if was_working:
                    logger.warning("events are dropped: %s", error)
                was_working = False
                self._waiting.clear()
        return was_working


class SentEvents:
    """The event task-sent of a client."""

    def __init__(self, app: Longshore) -> None:
        names, url = Names.of(app.conf), app.conf.broker_url
        self._clock = 0
        hostname = f"gen{os.getpid()}@{os.uname().nodename}"
        self._sender = EventSender(lambda: open_control(url, names), hostname, os.getpid(), self._tick)
        atexit.register(self.close)  # a short program ends before its events have left

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def tell(self, outgoing: Outgoing) -> None:
        """Tell of a task that the broker has."""
        headers = outgoing.message.headers
        named = ("root_id", "parent_id", "retries", "eta", "expires")
        self._sender.send(
            "task-sent",
            uuid=outgoing.message.id,
            name=headers.get("task"),
            args=headers.get("argsrepr"),
            kwargs=headers.get("kwargsrepr"),
            queue=outgoing.queue,
            exchange="",
            routing_key=outgoing.queue,
            **{name: headers.get(name) for name in named},
        )

    def close(self) -> None:
        """Send what waits."""
        atexit.unregister(self.close)
        self._sender.close()


# -- receiving -------------------------------------------------------------------------------------------------------


class Receiver:
    """Listens to events and hands each to the handler of its type, or to that of ``"*"``."""

    def __init__(
        self,
        app: Longshore,
        handlers: Mapping[str, Handler] | None = None,
        routing_key: str = EVERYTHING,
        node_id: str | None = None,
    ) -> None:
        self.app = app
        self.handlers = dict(handlers or {})
        self.routing_key = routing_key
        self.node_id = node_id or str(uuid.uuid4())
        self.should_stop = False

    def process(self, kind: str, event: EventDict) -> None:
        """Hand an event to its handler."""
        handler = self.handlers.get(kind) or self.handlers.get("*")
        if handler is not None:
            handler(event)

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> None:
        """Listen until `limit` events came, or none for `timeout` seconds (a `TimeoutError`), or `should_stop`."""
        for _ in self.itercapture(limit, timeout, wakeup):
            pass

    def itercapture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> Iterator[EventDict]:
        """Do the same, and yield each event after its handler was called. `wakeup` asks workers for a heartbeat."""
        self.app.require_broker()
        line = open_control(self.app.conf.broker_url, Names.of(self.app.conf))
        try:
            line.hear_events(self.node_id, self.routing_key)
            if wakeup:
                self.app.control.heartbeat()
            for number, event in enumerate(self._received(line, timeout), start=1):
                self.process(event["type"], event)
                yield event
                if self.should_stop or number == limit:
                    return
        finally:
            line.close()

    def _received(self, line: ControlLine, timeout: float | None) -> Iterator[EventDict]:
        heard = time.monotonic()
        while not self.should_stop:
            mails = line.receive(1.0 if timeout is None else min(timeout, 1.0))
            for mail in mails:
                for event in mail.body if isinstance(mail.body, list) else [mail.body]:
                    if isinstance(event, dict) and isinstance(event.get("type"), str):
                        yield {**event, "local_received": time.time()}
            if mails:
                heard = time.monotonic()
            elif timeout is not None and time.monotonic() - heard >= timeout:
                raise TimeoutError(f"no event for {timeout:g} s")


@dataclass(slots=True)
class Worker:
    """A worker, as its events show it."""

    hostname: str
    alive: bool = False
    heartbeat: float = 0.0
    active: int = 0
    processed: int = 0
    freq: float = 2.0
    pid: int | None = None
    loadavg: list[float] = field(default_factory=list)
    sw_ident: str | None = None
    sw_ver: str | None = None
    sw_sys: str | None = None


_STATES = {
    "task-sent": "PENDING", "task-received": "RECEIVED", "task-started": "STARTED", "task-succeeded": "SUCCESS",
    "task-failed": "FAILURE", "task-retried": "RETRY", "task-revoked": "REVOKED", "task-rejected": "REJECTED",
}  # fmt: skip
_DONE = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED"})


@dataclass(slots=True)
class Task:
    """A task, as its events show it."""

    uuid: str
    state: str = "PENDING"
    name: str | None = None
    worker: str | None = None
    timestamp: float = 0.0
    facts: EventDict = field(default_factory=dict)
    """Every other field of its events: args, kwargs, result, runtime, exception, traceback …"""

    @property
    def ready(self) -> bool:
        """Whether it has ended."""
        return self.state in _DONE

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.facts.get(name)


class State:
    """The picture that events make: `workers` by name, and the last `max_tasks_in_memory` `tasks` by id."""

    def __init__(self, max_tasks_in_memory: int = 10_000) -> None:
        self.workers: dict[str, Worker] = {}
        self.tasks: OrderedDict[str, Task] = OrderedDict()
        self.event_count = 0
        self.task_count = 0
        self._most = max_tasks_in_memory

    def event(self, event: Mapping[str, Any]) -> None:
        """Take an event in."""
        self.event_count += 1
        kind = str(event["type"])
        if kind.startswith("worker-"):
            self._of_worker(kind, event)
        elif kind in _STATES and event.get("uuid"):
            self._of_task(kind, event)

    def alive_workers(self) -> list[Worker]:
        """Return the workers that have been heard of lately."""
        return [worker for worker in self.workers.values() if worker.alive and time.time() - worker.heartbeat < 120]  # noqa: PLR2004 - seconds

    def _of_worker(self, kind: str, event: Mapping[str, Any]) -> None:
        name = str(event.get("hostname"))
        worker = self.workers.setdefault(name, Worker(name))
        worker.alive = kind != "worker-offline"
        worker.heartbeat = float(event.get("timestamp") or 0.0)
        for key in ("active", "processed", "freq", "pid", "loadavg", "sw_ident", "sw_ver", "sw_sys"):
            if key in event:
                setattr(worker, key, event[key])

    def _of_task(self, kind: str, event: Mapping[str, Any]) -> None:
        """Events of several processes may come in any order: an end is never taken back but by another run."""
        task = self.tasks.get(event["uuid"])
        if task is None:
            task = self.tasks[event["uuid"]] = Task(event["uuid"])
            self.task_count += 1
        timestamp = float(event.get("timestamp") or 0.0)
        if timestamp >= task.timestamp:
            task.state, task.timestamp = _STATES[kind], timestamp
            task.worker = event.get("hostname") if kind != "task-sent" else task.worker
        task.name = event.get("name") or task.name
        known = {"type", "uuid", "name", "hostname", "timestamp", "pid", "clock", "utcoffset", "local_received"}
        task.facts |= {key: value for key, value in event.items() if key not in known and value is not None}
        while len(self.tasks) > self._most:
            self.tasks.popitem(last=False)


class Events:
    """`app.events`: `Receiver` and `State`, made for an app."""

    State = State

    def __init__(self, app: Longshore) -> None:
        self._app = app
        self._sent: SentEvents | None = None

    @property
    def sent(self) -> SentEvents:
        """What tells of tasks that this process has sent."""
        if self._sent is None:
            self._sent = SentEvents(self._app)
        return self._sent

    def close(self) -> None:
        """Send what waits."""
        if self._sent is not None:
            self._sent.close()
            self._sent = None

    def Receiver(  # noqa: N802 - Celery's name
        self,
        connection: object = None,
        handlers: Mapping[str, Handler] | None = None,
        routing_key: str = EVERYTHING,
        node_id: str | None = None,
    ) -> Receiver:
        """Return a listener; a connection, as Celery wants one, is not needed."""
        del connection
        return Receiver(self._app, handlers, routing_key, node_id)
