"""What the broker and its workers say right now, several times a second: the figures of the table.

The engine measures for its decisions by itself and keeps figures in statuses, slower; this is for the eyes, and for
`--until-idle`. It never raises for a broker that does not answer: what is unknown is `None`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
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


class Throughput:
    """Counts what workers have done, those that have ended included, and how fast that grows."""

    def __init__(self) -> None:
        self._processed: dict[str, int] = {}
        self._pools: dict[str, str] = {}
        self._history: dict[str, deque[tuple[float, int]]] = {}

    def note(self, sample: Sample) -> None:
        """Take in one sample."""
        for report in sample.workers:
            self._processed[report.worker] = max(report.processed, self._processed.get(report.worker, 0))
            self._pools[report.worker] = report.pool or ""
        for pool in set(self._pools.values()):
            history = self._history.setdefault(pool, deque())
            history.append((sample.at, self.processed(pool)))
            while len(history) > 2 and history[1][0] <= sample.at - RATE_WINDOW_SECONDS:  # noqa: PLR2004 - two ends
                history.popleft()

    def processed(self, pool: str) -> int:
        """Return how many tasks this run's workers of a pool have ended."""
        return sum(count for worker, count in self._processed.items() if self._pools[worker] == pool)

    def rate(self, pools: Iterable[str]) -> float | None:
        """Return tasks a second over the last seconds; `None` while nothing was seen."""
        rates = [rate for pool in pools if (rate := self._pool_rate(pool)) is not None]
        return sum(rates) if rates else None

    def _pool_rate(self, pool: str) -> float | None:
        history = self._history.get(pool)
        if not history or history[-1][0] <= history[0][0]:
            return None
        (first_at, first), (last_at, last) = history[0], history[-1]
        return (last - first) / (last_at - first_at)
