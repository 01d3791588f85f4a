"""Watches a run: samples the broker, keeps the figures that a sample forgets, and makes the picture and the summary.

It changes nothing. Looking at the broker may block, so it has a thread of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from longshore.brokers.port import Broker
from longshore.exceptions import BrokerError
from longshore_operator.api import CronSchedule, TaskQueue, WorkerPool
from longshore_operator.engine.ports import KINDS, Key
from longshore_operator.local import sampling
from longshore_operator.local.picture import TickCounter, pool_row, queue_names, queue_row, read, schedule_row
from longshore_operator.local.resources import LocalResources
from longshore_operator.local.snapshot import Snapshot
from longshore_operator.local.summary import Ending, Summary, count_dead
from longshore_operator.local.workloads import LocalWorkloads


class Observer:
    """Looks at one run."""

    def __init__(
        self, resources: LocalResources, workloads: LocalWorkloads, broker: Broker, clock: Callable[[], float]
    ) -> None:
        self._resources = resources
        self._workloads = workloads
        self._broker = broker
        self._clock = clock
        models = [read(manifest) for kind in KINDS for manifest in resources.list(kind)]
        self.queues = [model for model in models if isinstance(model, TaskQueue)]
        self._pools = [model for model in models if isinstance(model, WorkerPool)]
        self._schedules = [model for model in models if isinstance(model, CronSchedule)]
        self._throughput = sampling.Throughput()
        self._ticks = TickCounter({schedule.uid: self._status(schedule) for schedule in self._schedules})
        self._sample = sampling.Sample(clock())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="observer")
        self.started_at = clock()
        self.peak_workers = 0
        self.peak_slots = 0

    async def look(self, notice: str | None = None) -> Snapshot:
        """Take a sample and return the picture."""
        loop = asyncio.get_running_loop()
        names, pods = queue_names(self.queues), frozenset(self._workloads.uids)
        self._sample = await loop.run_in_executor(self._thread, sampling.take, self._broker, names, pods, self._clock())
        self._count_ended()
        self._throughput.note(self._sample)
        self._workloads.see_ready(sampling.pod_of(report) for report in self._sample.workers)
        snapshot = self._picture(notice)
        self.peak_workers = max(self.peak_workers, sum(pool.ready for pool in snapshot.pools))
        self.peak_slots = max(self.peak_slots, sum(pool.capacity or 0 for pool in snapshot.pools))
        return snapshot

    def reported_since(self, moment: float) -> bool:
        """Whether every worker that was seen has reported after this moment."""
        return all(report.at > moment for report in self._sample.workers)

    async def summarize(self, ending: Ending, finished_at: float, problems: tuple[str, ...]) -> Summary:
        """Return the run's figures."""
        self._count_ended()
        names = [queue.dead_letter_queue_name for queue in self.queues]
        loop = asyncio.get_running_loop()
        try:
            dead, failed = await loop.run_in_executor(self._thread, count_dead, self._broker, names, self.started_at)
        except BrokerError as error:
            dead, failed, problems = Counter(), 0, (*problems, f"dead letters could not be counted: {error}")
        return Summary(
            ending=ending,
            seconds=finished_at - self.started_at,
            tasks=sum(self._throughput.processed(pool.key) for pool in self._pools),
            failed=failed,
            dead=dict(dead),
            ticks=sum(self._ticks.of(schedule.uid) for schedule in self._schedules),
            peak_workers=self.peak_workers,
            peak_slots=self.peak_slots,
            problems=problems,
        )

    def _count_ended(self) -> None:
        """A worker's last report is up to 2 s old when it ends; what it says at its end is exact."""
        for pool, words in self._workloads.take_last_words():
            self._throughput.count(words.worker, pool, words.processed)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _picture(self, notice: str | None) -> Snapshot:
        pods = list(self._workloads.pods())
        queues = tuple(queue_row(queue, self._status(queue), self._sample, self._throughput) for queue in self.queues)
        pools = tuple(
            pool_row(
                pool, self._status(pool), [pod for pod in pods if pod.key == pool.key], self._sample, self._throughput
            )
            for pool in self._pools
        )
        schedules = []
        for schedule in self._schedules:
            status = self._status(schedule)
            schedules.append(schedule_row(schedule, status, self._ticks.count(schedule.uid, status)))
        events = tuple(self._resources.events)
        return Snapshot(self._clock(), self.started_at, queues, pools, tuple(schedules), events, notice)

    def _status(self, model: TaskQueue | WorkerPool | CronSchedule) -> Mapping[str, Any]:
        found = self._resources.get(Key(model.kind, model.namespace, model.name)) or {}
        status: Mapping[str, Any] = found.get("status") or {}
        return status
