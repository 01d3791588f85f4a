"""The keeper: what a worker owes its broker while its processes work, in one thread of the supervisor.

Every 2 seconds it keeps the claims of live processes and reports; every second it takes over from the dead; at once it
gives back what a dead process of its own held.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from longshore import signals
from longshore.brokers.port import Broker, Owner, Started, WorkerReport
from longshore.exceptions import BackendError, BrokerError
from longshore.worker.board import Board, Slot
from longshore.worker.options import WorkerOptions
from longshore.worker.revocations import Revocations

logger = logging.getLogger("longshore.worker")

SWEEP_SECONDS = 1.0
KEEP_SECONDS = 2.0
TASKS_IN_REPORT = 200
UNKNOWN_SECONDS = 120.0


class Keeper:
    """Broker upkeep for one worker. Its methods may be called from the supervisor's main thread at any time."""

    def __init__(
        self,
        broker: Broker,
        options: WorkerOptions,
        board: Board,
        tasks: Mapping[str, object],
        revocations: Revocations,
    ) -> None:
        self._broker = broker
        self._options = options
        self._board = board
        self._revocations = revocations
        self._tasks = tuple(sorted(tasks))
        self._queues = options.queues
        self._all_queues = options.queues
        """With those that it worked on before: processes may still hold claims of them."""
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._owners: list[Owner] = []
        self._orphans: list[tuple[Owner, Sequence[Started], Callable[[], None] | None]] = []
        self._errands: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._started_at = time.time()
        self._broken = False
        self.draining = False

    def start(self, owners: Sequence[Owner]) -> None:
        """Begin, for these live processes."""
        self._owners = list(owners)
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Hold the keeper between two of its calls: no broker lock is taken while the caller forks."""
        with self._lock:
            yield

    def live(self, owners: Sequence[Owner], queues: tuple[str, ...]) -> None:
        """Say which processes live now, and what they work on."""
        self._owners, self._queues = list(owners), queues
        self._all_queues = tuple(dict.fromkeys((*self._all_queues, *queues)))

    def orphan(self, owner: Owner, started: Sequence[Started], then: Callable[[], None] | None = None) -> None:
        """Give back, at once and until it succeeds, what a dead process held; `then` is called afterwards."""
        self._orphans.append((owner, started, then))
        self._news.set()

    def errand(self, call: Callable[[], None]) -> None:
        """Do this soon, until it succeeds."""
        self._errands.append(call)
        self._news.set()

    def stop(self) -> None:
        """Give back what is left, take the report down, end."""
        self._stopping = True
        self._news.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        next_keep = 0.0
        while not self._stopping:
            with self._lock:
                if time.monotonic() >= next_keep:
                    next_keep = time.monotonic() + KEEP_SECONDS
                    self._guarded(self._keep)
                    self._guarded(self._revocations.exchange)
                self._guarded(self._release_orphans)
                self._guarded(self._run_errands)
                self._guarded(self._sweep)
            self._news.wait(SWEEP_SECONDS)
            self._news.clear()
        self._guarded(self._release_orphans)
        self._guarded(self._run_errands)
        self._guarded(lambda: self._broker.forget_worker(self._options.worker))

    def _guarded(self, call: object) -> None:
        try:
            call()  # type: ignore[operator]  # a bound method or a lambda
            self._broken = False
        except (BrokerError, BackendError) as error:
            if not self._broken:
                logger.warning("upkeep: %s", error)
            self._broken = True

    def _keep(self) -> None:
        slots = [owner.slot for owner in self._owners]
        self._broker.keep_claims(self._options.worker, slots, self._all_queues)
        self._broker.report(self._report())
        signals.heartbeat_sent.send(self)

    def _release_orphans(self) -> None:
        while self._orphans:
            owner, started, then = self._orphans[0]
            count = self._broker.release_owner(owner, self._all_queues, started)
            logger.info("%d claims of %s are back in their queues", count, owner)
            self._orphans.pop(0)
            if then is not None:
                then()

    def _run_errands(self) -> None:
        while self._errands:
            self._errands[0]()
            self._errands.popleft()

    def _sweep(self) -> None:
        self._broker.sweep(self._all_queues)

    def _report(self) -> WorkerReport:
        slots = [self._board.read(index) for index in range(self._board.slots)]
        return WorkerReport(
            worker=self._options.worker,
            name=self._options.name,
            pool=self._options.pool,
            queues=self._queues,
            capacity=self._board.capacity,
            busy=sum(slot.busy for slot in slots),
            held=sum(slot.held for slot in slots),
            processed=sum(slot.processed for slot in slots),
            draining=self.draining,
            tasks=self._tasks[:TASKS_IN_REPORT],
            task_count=len(self._tasks),
            pid=os.getpid(),
            host=socket.gethostname(),
            started_at=self._started_at,
            at=time.time(),
            unknown_tasks=tuple(sorted({slot.unknown_task for slot in slots if _is_recent(slot)})),
        )


def _is_recent(slot: Slot) -> bool:
    """A parked task comes back after a minute at most."""
    return bool(slot.unknown_task) and time.monotonic() - slot.unknown_at < UNKNOWN_SECONDS
