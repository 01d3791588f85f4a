"""Redis Cluster behind the port: each queue has its node, and is spoken with as a server of its own.

All keys of a queue have the queue for their hash tag, so that one script decides about it; nothing spans two queues.
Where slots move, a queue is unavailable for that moment and every call tries again until its deadline. Celery has no
part in this: it has no transport for a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from longshore.brokers.port import (
    SEND_DEADLINE_SECONDS,
    Capabilities,
    Consumer,
    Outgoing,
    Owner,
    QueueDepth,
    QueueSpec,
    Started,
    WorkerReport,
)
from longshore.brokers.redis.broker import RedisBroker
from longshore.brokers.redis.cluster_consumer import ClusterConsumer
from longshore.brokers.redis.keys import own
from longshore.exceptions import ImproperlyConfigured
from longshore.message import Message
from longshore.results.port import ResultBackend

if TYPE_CHECKING:
    from concurrent.futures import Future


class ClusterBroker:
    """The port's `Broker`: one `RedisBroker` a queue, and one for the workers' reports."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._reports = RedisBroker(url, pinned=own("workers", ""))
        self._queues: dict[str, RedisBroker] = {}
        self.capabilities: Capabilities = replace(
            self._reports.capabilities, name="redis-cluster", atomic_settle=False, celery_interop=False
        )

    def _of(self, queue: str) -> RedisBroker:
        found = self._queues.get(queue)
        if found is None:
            if "{" in queue or "}" in queue:
                raise ImproperlyConfigured(
                    f"queue {queue!r}: on a Redis Cluster the name of a queue may hold no braces"
                )
            found = self._queues.setdefault(queue, RedisBroker(self.url, pinned=own(queue, "")))
        return found

    def declare(self, queues: Sequence[QueueSpec]) -> None:
        """Remember the queues."""
        for queue in queues:
            self._of(queue.name).declare([queue])

    def send(self, outgoing: Sequence[Outgoing], *, deadline: float = SEND_DEADLINE_SECONDS) -> None:
        """Put the messages into their queues, one queue after the other; up to 2,000 of a queue all or none."""
        ends = monotonic() + deadline
        groups: dict[str, list[Outgoing]] = {}
        for one in outgoing:
            groups.setdefault(one.queue, []).append(one)
        for queue, group in groups.items():
            self._of(queue).send(group, deadline=max(ends - monotonic(), 0.0))

    def submit(self, outgoing: Outgoing, *, deadline: float = SEND_DEADLINE_SECONDS) -> Future[None]:
        """Send it with what else waits for its queue just now."""
        return self._of(outgoing.queue).submit(outgoing, deadline=deadline)

    def depths(self, queues: Sequence[str]) -> Mapping[str, QueueDepth | None]:
        """Measure the queues, one after the other."""
        return {queue: self._of(queue).depths([queue])[queue] for queue in queues}

    def peek(self, queue: str, limit: int) -> list[Message]:
        """Return the first ready messages."""
        return self._of(queue).peek(queue, limit)

    def consumer(
        self,
        owner: Owner,
        queues: Sequence[str],
        *,
        wake_fd: int | None = None,
        results: ResultBackend | None = None,
    ) -> Consumer:
        """Return a consumer with connections of its own to the node of each queue."""
        if not queues:
            raise ImproperlyConfigured("a consumer needs at least one queue")
        if results is not None:
            raise ImproperlyConfigured("a Redis Cluster stores no result together with a settlement")
        hands: set[str] = set()
        parts = {queue: self._of(queue).consumer(owner, [queue], wake_fd=wake_fd, hands=hands) for queue in queues}
        return ClusterConsumer(parts, self.send)

    def settles_results_of(self, backend: ResultBackend) -> bool:  # noqa: ARG002 - the port's
        """Never: a result is in another slot than its queue."""
        return False

    def keep_claims(self, worker: str, slots: Sequence[int], queues: Sequence[str]) -> None:
        """Renew the leases that exist."""
        for queue in queues:
            self._of(queue).keep_claims(worker, slots, [queue])

    def release_owner(self, owner: Owner, queues: Sequence[str], started: Sequence[Started]) -> int:
        """Give back what a dead process held."""
        return sum(self._of(queue).release_owner(owner, [queue], started) for queue in queues)

    def sweep(self, queues: Sequence[str]) -> int:
        """Take over from owners whose lease is over, and promote what is due."""
        return sum(self._of(queue).sweep([queue]) for queue in queues)

    def report(self, report: WorkerReport) -> None:
        """Publish a report."""
        self._reports.report(report)

    def forget_worker(self, worker: str) -> None:
        """Remove a report."""
        self._reports.forget_worker(worker)

    def workers(self) -> list[WorkerReport]:
        """Return the reports of those who spoke in the last 10 seconds."""
        return self._reports.workers()

    def purge(self, queue: str) -> int:
        """Drop what is ready and delayed."""
        return self._of(queue).purge(queue)

    def delete_queue(self, queue: str) -> None:
        """Remove a queue with everything in it."""
        self._of(queue).delete_queue(queue)

    def close(self) -> None:
        """Close this process's idle connections."""
        self._reports.close()
        for broker in list(self._queues.values()):
            broker.close()
