"""What the broker and its workers say right now, several times a second: the figures of the table.

The engine measures for its decisions by itself and keeps figures in statuses, slower; this is for the eyes, and for
`--until-idle`. It never raises for a broker that does not answer: what is unknown is `None`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from longshore.brokers.port import Broker, QueueDepth, WorkerReport
from longshore.exceptions import BrokerError

RATE_WINDOW_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What one look found. `problem` is the broker's own sentence when it did not answer."""

    at: float
    depths: Mapping[str, QueueDepth | None] = field(default_factory=dict)
    workers: tuple[WorkerReport, ...] = ()
    problem: str | None = None

    def depth(self, queue: str) -> QueueDepth:
        """Return a queue's depth; all unknown where it was not told."""
        return self.depths.get(queue) or QueueDepth(None)

    def of_pool(self, pool: str) -> list[WorkerReport]:
        """Return the reports of the workers of one pool, ``namespace/name``."""
        return [report for report in self.workers if report.pool == pool]


def take(broker: Broker, queues: Sequence[str], pods: AbstractSet[str], now: float) -> Sample:
    """Look once. Only the workers of these pods count: a killed run's are still reported for some seconds."""
    try:
        workers = tuple(report for report in broker.workers() if pod_of(report) in pods)
        return Sample(now, broker.depths(queues), workers)
    except BrokerError as error:
        return Sample(now, problem=str(error))


def pod_of(report: WorkerReport) -> str:
    """Return the UID of the pod that a worker runs in: its id is that and its start."""
    return report.worker.partition(".")[0]


class Trend:
    """How fast a figure changes, over the last seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def note(self, at: float, value: int) -> None:
        """Take in one point."""
        self._points.append((at, value))
        while len(self._points) > 2 and self._points[1][0] <= at - RATE_WINDOW_SECONDS:  # noqa: PLR2004 - two ends
            self._points.popleft()

    def per_second(self) -> float | None:
        """Return the change a second; `None` while it is not known."""
        if not self._points or self._points[-1][0] <= self._points[0][0]:
            return None
        (first_at, first), (last_at, last) = self._points[0], self._points[-1]
        return (last - first) / (last_at - first_at)


class Throughput:
    """Counts what workers have done, those that have ended included, and how fast that and the queues change."""

    def __init__(self) -> None:
        self._processed: dict[str, int] = {}
        self._pools: dict[str, str] = {}
        self._of_pools: defaultdict[str, Trend] = defaultdict(Trend)
        self._of_queues: defaultdict[str, Trend] = defaultdict(Trend)

    def note(self, sample: Sample) -> None:
        """Take in one sample."""
        for report in sample.workers:
            self.count(report.worker, report.pool or "", report.processed)
        for pool in set(self._pools.values()):
            self._of_pools[pool].note(sample.at, self.processed(pool))
        for queue in sample.depths:
            depth = sample.depth(queue)
            if depth.ready is not None:
                self._of_queues[queue].note(sample.at, depth.ready + (depth.leased or 0) + (depth.delayed or 0))

    def count(self, worker: str, pool: str, processed: int) -> None:
        """Take in what one worker has done so far; an older figure that comes later changes nothing."""
        self._processed[worker] = max(processed, self._processed.get(worker, 0))
        self._pools[worker] = pool

    def processed(self, pool: str) -> int:
        """Return how many tasks this run's workers of a pool have ended."""
        return sum(count for worker, count in self._processed.items() if self._pools[worker] == pool)

    def pool_rate(self, pool: str) -> float | None:
        """Return the tasks that a pool ends a second."""
        return self._of_pools[pool].per_second()

    def queue_rate(self, queue: str) -> float | None:
        """Return the messages by which a queue grows a second; negative when it shrinks."""
        return self._of_queues[queue].per_second()
