"""What a scenario plays on: real servers, and per run a queue, a client, a journal and workers as processes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from longshore import Longshore
from longshore.brokers.port import QueueDepth, QueueSpec
from longshore.canvas import Signature, chord
from tests.chaos.journal import Journal
from tests.chaos.patience import stretch
from tests.chaos.tasks import JOURNAL, PREFIX, RETRIED
from tests.support import rabbitmq as rabbitmq_support
from tests.support import redis as redis_support
from tests.support.rabbitmq import RabbitMQServer
from tests.support.redis import RedisServer
from tests.support.workers import Worker, is_gone, start_worker, wait_for

APP = "tests.chaos.tasks:app"
BROKERS = ("sqlite", "redis", "rabbitmq", "quorum")
READ_AHEAD = 100
PROCESSES = 2
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
CLOSED_SOCKET_SECONDS = 1.0
LEASE_SECONDS = 10.0
"""As long as the longest lease by default, or longer."""
SHORT_SECONDS = {"sqlite": 1.0, "redis": 4.0, "rabbitmq": 3.0, "quorum": 3.0}
RABBITMQ = {"rabbitmq", "quorum"}
SHORT_HEARTBEAT_SECONDS = 1.0
SHORT_LEASES = {"redis": "lease_seconds=4", "rabbitmq": "heartbeat=1", "quorum": "heartbeat=1"}
GONE_SECONDS = 10.0
LOSS_SECONDS = 60.0
"""What is not there after that long counts as lost; until then it is late."""

Server = RedisServer | RabbitMQServer


class Servers:
    """The servers of a run, each started when it is first needed. A broker that cannot run here says why."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: dict[str, Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._started.values():
            server.close() if isinstance(server, RabbitMQServer) else server.kill()

    @staticmethod
    def missing(broker: str) -> str | None:
        """Return why a broker cannot be started here, or `None`."""
        support = {"redis": redis_support, "rabbitmq": rabbitmq_support, "quorum": rabbitmq_support}.get(broker)
        return support.missing() if support else None

    def server(self, broker: str, *, durable: bool = False) -> Server:
        """Return the server of a broker. A durable Redis writes each change to the disk before it answers."""
        kind = f"{broker}-durable" if broker == "redis" and durable else broker.replace("quorum", "rabbitmq")
        if kind not in self._started:
            folder = self.folder / kind
            rabbitmq = kind == "rabbitmq"
            server = RabbitMQServer(folder) if rabbitmq else RedisServer(folder, *(DURABLE if durable else ()))
            self._started[kind] = server
            server.start()
        return self._started[kind]

    def url(self, broker: str, folder: Path, *, durable: bool = False) -> str:
        """Return an address, for SQLite that of a new file."""
        return f"sqlite:///{folder}/broker.db" if broker == "sqlite" else self.server(broker, durable=durable).url()


class Stage:
    """One queue of a broker with its client, its journal, and its workers; nothing is left when the block ends."""

    def __init__(
        self,
        servers: Servers,
        broker: str,
        rng: random.Random,
        *,
        durable: bool = False,
        lane: int = 0,
        short: bool = False,
    ) -> None:
        self.kind = broker
        self.lane = lane
        self.rng = rng
        self.servers = servers
        self.queue = f"chaos-{uuid.uuid4().hex[:8]}"
        self.folder = servers.folder / self.queue
        self.folder.mkdir(parents=True)
        self.url = servers.url(broker, self.folder, durable=durable)
        if short and broker in SHORT_LEASES:
            self.url += f"?{SHORT_LEASES[broker]}"
        self.lease = SHORT_SECONDS[broker] if short else LEASE_SECONDS
        self.short = short
        self.results = self.url if broker == "redis" else f"sqlite:///{self.folder}/results.db"
        self.journal = Journal(self.folder / "journal")
        self.sent: list[int] = []
        self.findings: list[str] = []
        self.most_stretched = 1.0
        self.logs: list[Path] = []
        self._numbers = itertools.count()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.app = Longshore("chaos-client", broker=self.url, backend=self.results)
        self._stack.callback(self.app.close)
        kind = "Quorum" if self.kind == "quorum" else "Classic"
        self.app.broker.declare([QueueSpec(name, kind) for name in (self.queue, self.dead)])
        self._stack.callback(self._delete)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _delete(self) -> None:
        for name in (self.queue, self.dead):
            self.app.broker.delete_queue(name)

    @property
    def dead(self) -> str:
        return f"{self.queue}.dead"

    @property
    def gil_seconds(self) -> float:
        """How long a task may hold the interpreter's lock here."""
        if self.short and self.kind in RABBITMQ:
            return SHORT_HEARTBEAT_SECONDS
        return self.app.broker.capabilities.gil_seconds

    @property
    def takeover(self) -> float:
        """How long the claims of a whole worker that was killed may be away."""
        if self.kind in RABBITMQ:
            return CLOSED_SOCKET_SECONDS
        return self.app.broker.capabilities.takeover_seconds

    def stretched(self) -> float:
        """Return by how much time limits are stretched now, because others use the machine; noted for the report."""
        now = stretch()
        self.most_stretched = max(self.most_stretched, now)
        return now

    # -- sending and looking -----------------------------------------------------------------------------------------

    def next_number(self) -> int:
        return next(self._numbers)

    def send(self, task: str, count: int = 1, *args: Any, **options: Any) -> range:
        """Send so many of a task; return their numbers."""
        numbers = [self.next_number() for _ in range(count)]
        for start in range(0, count, 1000):
            calls = [(PREFIX + task, (number, *args)) for number in numbers[start : start + 1000]]
            self.app.send_many(calls, queue=self.queue, **options)
        self.sent += numbers
        return range(numbers[0], numbers[-1] + 1)

    def send_chords(self, count: int, parts: int) -> range:
        """Send so many chords; return the numbers of their parts. A body has that of its first part, and `RETRIED`."""
        numbers = [self.next_number() for _ in range(count * parts)]
        for first in range(numbers[0], numbers[-1], parts):
            header = [self._signature("part", (number,)) for number in range(first, first + parts)]
            chord(header)(self._signature("join", ()))
        self.sent += [*numbers, *(number + RETRIED for number in numbers[::parts])]
        return range(numbers[0], numbers[-1] + 1)

    def _signature(self, task: str, args: tuple[int, ...]) -> Signature:
        return self.app.signature(PREFIX + task, args=args, queue=self.queue)

    def depth(self) -> QueueDepth:
        depth = self.app.broker.depths([self.queue])[self.queue]
        assert depth is not None
        return depth

    def is_empty(self) -> bool:
        """Nothing is ready, leased or delayed, as far as this broker can tell."""
        depth = self.depth()
        return not (depth.ready or depth.leased or depth.delayed)

    def dead_letters(self) -> list[int]:
        """Return the numbers of what lies in the dead letters."""
        return [json.loads(message.body)[0][0] for message in self.app.broker.peek(self.dead, 1000)]

    def all_ended(self, numbers: Sequence[int], seconds: float = LOSS_SECONDS) -> bool:
        """Wait until all of these have ended; return whether they did."""
        wanted = set(numbers)
        return self.journal.wait(lambda: wanted <= self.journal.ended, seconds)

    def settled(self, seconds: float = LOSS_SECONDS) -> bool:
        """Wait until nothing is left in the queue; note it when something is. Then every duplicate has run."""
        deadline = time.monotonic() + seconds
        while not self.is_empty():
            if time.monotonic() > deadline:
                self.findings.append(f"left behind in the queue: {self.depth()}")
                return False
            time.sleep(0.02)
        return True

    # -- workers -----------------------------------------------------------------------------------------------------

    def worker(self, *options: str, ack: str = "late", processes: int = PROCESSES, url: str | None = None) -> Crew:
        """Start a worker of this queue."""
        log = self.folder / f"worker-{len(self.logs)}.log"
        self.logs.append(log)
        words = ("-Q", self.queue, "-c", str(processes), "-l", "warning", "--ack-policy", ack, *options)
        environ = {JOURNAL: str(self.journal.path)}
        crew = Crew(start_worker(APP, *words, broker=url or self.url, log=log, environ=environ))
        self._stack.callback(crew.end)
        return crew

    def finish(self, crew: Crew) -> None:
        """End the run in good order: the queue is empty, the worker drains, and what it noted last is read."""
        self.settled()
        crew.wait_for_children(1)  # before that, SIGTERM ends it as it ends any program
        code = crew.drain()
        if code != 0:
            self.findings.append(f"a worker ended with code {code}")
        self.journal.poll()


class Crew:
    """A worker and its processes, to be killed, frozen or drained."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.started_at = time.time()

    @property
    def pid(self) -> int:
        return self.worker.process.pid

    def children(self) -> list[int]:
        return self.worker.children()

    def wait_for_children(self, count: int = PROCESSES, seconds: float = 30.0) -> list[int]:
        wait_for(f"{count} processes", lambda: len(self.children()) >= count, seconds)
        return self.children()

    def kill_child(self, rng: random.Random) -> Strike:
        """Kill one child."""
        child = rng.choice(self.wait_for_children(1))
        at = time.time()
        with contextlib.suppress(ProcessLookupError):  # it may have died by itself just now
            self._signal(child, signal.SIGKILL)
        return _struck(at, [child])

    def kill_supervisor(self) -> Strike:
        """Kill the supervisor alone; its children must follow by themselves."""
        return self._kill([])

    def kill_group(self) -> Strike:
        """Kill every process at once, as the kernel does with a container."""
        return self._kill(self.children())

    def _kill(self, others: Sequence[int]) -> Strike:
        self._signal(self.pid, signal.SIGSTOP)  # so that it does not replace whom we kill before it
        children = self.children()
        at = time.time()
        for pid in (self.pid, *others):
            with contextlib.suppress(ProcessLookupError):
                self._signal(pid, signal.SIGKILL)
        self.worker.process.wait()
        return _struck(at, children)

    def freeze(self, pids: Sequence[int]) -> float:
        for pid in pids:
            self._signal(pid, signal.SIGSTOP)
        return time.time()

    def thaw(self, pids: Sequence[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                self._signal(pid, signal.SIGCONT)

    def drain(self, seconds: float = 60.0) -> int:
        return self.worker.terminate(seconds)

    def end(self) -> None:
        """Leave nothing of it."""
        children = self.children()
        if self.worker.process.poll() is None:
            self.worker.process.kill()
        self.worker.process.wait()
        for pid in children:
            wait_for(f"process {pid} is gone", lambda pid=pid: is_gone(pid), 10)

    @staticmethod
    def _signal(pid: int, number: int) -> None:
        os.kill(pid, number)


class Strike(NamedTuple):
    """Who was killed, when, and when the last of these processes was gone."""

    at: float
    pids: frozenset[int]
    gone_at: float


def _struck(at: float, pids: Sequence[int]) -> Strike:
    poll(lambda: all(map(is_gone, pids)), GONE_SECONDS)
    return Strike(at, frozenset(pids), time.time())


def poll(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; return whether it came to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True
