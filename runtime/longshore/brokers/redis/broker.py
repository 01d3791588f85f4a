"""The Redis broker behind the port: sending, measuring, leases of others, reports.

Shares Celery's lists and envelope; what Celery has no place for is in keys of ours (`keys.py`). Consuming is in
`consumer.py`. Calls may come from several threads; a child after a fork opens its own connections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from longshore.brokers.handback import HandedBack
from longshore.brokers.port import (
    SEND_DEADLINE_SECONDS,
    Capabilities,
    Outgoing,
    Owner,
    QueueDepth,
    QueueSpec,
    Started,
    WorkerReport,
)
from longshore.brokers.redis.address import parse
from longshore.brokers.redis.celery_claims import CeleryClaims
from longshore.brokers.redis.connection import ConnectFailed, ConnectionBroken, ReplyError, pack
from longshore.brokers.redis.consumer import RedisConsumer
from longshore.brokers.redis.envelope import decode, encode, lane
from longshore.brokers.redis.errors import broker_error
from longshore.brokers.redis.handback import hand_back
from longshore.brokers.redis.keys import LANES, declared_queues, lane_list, own
from longshore.brokers.redis.server import Server
from longshore.brokers.schemes import REDIS
from longshore.exceptions import ImproperlyConfigured, SendOutcomeUnknown, UnsupportedByBroker, one_url
from longshore.message import Message

if TYPE_CHECKING:
    from concurrent.futures import Future

    from longshore.brokers.sender import Sender
    from longshore.results.port import ResultBackend

REPORT_SECONDS = 10.0
_AT_ONCE = 2000
"""Messages of one transaction when many are sent."""

_encode_report = msgspec.json.Encoder().encode
_decode_report = msgspec.json.Decoder(WorkerReport).decode


class RedisBroker:
    """The port's `Broker`."""

    def __init__(self, url: str, pinned: str | None = None) -> None:
        """In a cluster the broker is one for a single node, that of the key `pinned`."""
        self.url = url
        self._server = Server(url, broker_error, pinned)
        self._address = self._server.address
        self._celery = CeleryClaims(self._server, self._address.visibility_timeout)
        self.capabilities = Capabilities(
            name="redis",
            delayed=True,
            priorities=True,
            atomic_settle=True,
            counts_leased=True,
            counts_delayed=True,
            fenced=True,
            takeover_seconds=self._address.lease_seconds + 2.0,
            multi_host=True,
            celery_interop=True,
        )

    # -- sending -----------------------------------------------------------------------------------------------------

    def declare(self, queues: Sequence[QueueSpec]) -> None:
        """Remember the queues; lists come into being with their first message."""
        for queue in queues:
            if queue.type != "Classic":
                raise UnsupportedByBroker(f"queue {queue.name!r}: Redis has no {queue.type} queues; use type Classic")
        self._server.check()
        queues = [queue for queue in queues if not queue.temporary]
        if queues:
            known = declared_queues(queues[0].name, self._address.is_cluster)
            self._server.call(pack("SADD", known, *(queue.name for queue in queues)))

    def send(self, outgoing: Sequence[Outgoing], *, deadline: float = SEND_DEADLINE_SECONDS) -> None:
        """Put the messages into their queues; up to 2,000 of them all or none."""
        ends = monotonic() + deadline
        for start in range(0, len(outgoing), _AT_ONCE):
            self._send_together(outgoing[start : start + _AT_ONCE], ends)

    def submit(self, outgoing: Outgoing, *, deadline: float = SEND_DEADLINE_SECONDS) -> Future[None]:
        """Send it with what else waits just now."""
        return self._sender.submit(outgoing, deadline)

    @cached_property
    def _sender(self) -> Sender:
        from longshore.brokers.sender import Sender, all_or_none  # for those who submit

        return Sender(all_or_none(lambda outgoing, seconds: self.send(outgoing, deadline=seconds)))

    def _send_together(self, outgoing: Sequence[Outgoing], ends: float) -> None:
        commands = _commands(outgoing, self._address.is_cluster)
        together = len(commands) > 1
        data = b"".join([pack("MULTI"), *commands, pack("EXEC")]) if together else commands[0]
        try:
            replies = self._server.pool.exchange(data, len(commands) + 2 if together else 1, ends)
        except ConnectionBroken as trouble:
            raise SendOutcomeUnknown(f"{trouble}; the message may have been sent") from trouble
        except (ConnectFailed, ReplyError) as trouble:
            raise broker_error(trouble, self._address) from trouble
        for reply in [*replies, *(replies[-1] if isinstance(replies[-1], list) else [])]:
            if isinstance(reply, ReplyError):
                raise broker_error(reply, self._address)

    # -- looking -----------------------------------------------------------------------------------------------------

    def depths(self, queues: Sequence[str]) -> Mapping[str, QueueDepth | None]:
        """Measure the queues by one script."""
        answer = self._server.run("depths", list(queues)) if queues else []
        return {queue: _depth(row) if row is not None else None for queue, row in zip(queues, answer, strict=True)}

    def peek(self, queue: str, limit: int) -> list[Message]:
        """Return the first ready messages, in the order in which they would be claimed."""
        steps = LANES[::-1] if self._address.celery_priorities else LANES
        lists = [own(queue, "alone"), *(lane_list(queue, step, self._address.is_cluster) for step in steps)]
        data = b"".join(pack("LRANGE", name, -limit, -1) for name in lists)
        suspects, *ready = self._server.call(data, len(lists))
        elements = [entry.split(b":", 3)[3] for entry in reversed(suspects)]
        for elements_of_step in ready:
            elements.extend(reversed(elements_of_step))
        return [decode(element)[0] for element in elements[:limit]] if limit > 0 else []

    # -- consuming ---------------------------------------------------------------------------------------------------

    def consumer(
        self,
        owner: Owner,
        queues: Sequence[str],
        *,
        wake_fd: int | None = None,
        results: ResultBackend | None = None,
        hands: set[str] | None = None,
    ) -> RedisConsumer:
        """Return a consumer with connections of its own."""
        if not queues:
            raise ImproperlyConfigured("a consumer needs at least one queue")
        self._server.check()
        results_in = None if results is None else parse(results.url).database
        return RedisConsumer(self._address, owner, queues, wake_fd=wake_fd, results_in=results_in, hands=hands)

    def settles_results_of(self, backend: ResultBackend) -> bool:
        """Where the same user stores on the same server, be it in another database."""
        scheme = urlsplit(one_url(backend.url)).scheme.lower()
        return scheme in REDIS and self._address.is_same_server(parse(backend.url))

    def keep_claims(self, worker: str, slots: Sequence[int], queues: Sequence[str]) -> None:
        """Renew the leases that exist; one that was taken over stays so until its owner claims again."""
        if slots and queues:
            owners = [str(Owner(worker, slot)) for slot in slots]
            self._server.run("keep", owners, self._address.lease_seconds, list(queues), False)

    def release_owner(self, owner: Owner, queues: Sequence[str], started: Sequence[Started]) -> int:
        """Give back what a dead process held; what is said of the tasks that it was running stays with them."""
        said = [(each.task_id, each.counted, each.sentence or "") for each in started]
        return int(self._server.run("release", str(owner), list(queues), said)) if queues else 0

    def sweep(self, queues: Sequence[str]) -> int:
        """Take over from owners whose lease is over, promote what is due, restore what Celery's workers lost."""
        if not queues:
            return 0
        return int(self._server.run("sweep", list(queues))) + (
            0 if self._address.is_cluster else self._celery.restore(queues)
        )

    # -- workers -----------------------------------------------------------------------------------------------------

    def report(self, report: WorkerReport) -> None:
        """Publish a report; the server's clock says when."""
        self._server.run("report", REPORT_SECONDS, report.worker, _encode_report(report).decode())

    def forget_worker(self, worker: str) -> None:
        """Remove a report."""
        self._server.call(
            pack("ZREM", "longshore:1:{workers}:seen", worker) + pack("HDEL", "longshore:1:{workers}:reports", worker),
            2,
        )

    def workers(self) -> list[WorkerReport]:
        """Return the reports of those who spoke in the last 10 seconds."""
        rows = self._server.run("report", REPORT_SECONDS, False, False)
        return [replace(_decode_report(text), at=float(at)) for at, text in rows if text is not None]

    # -- operating ---------------------------------------------------------------------------------------------------

    def purge(self, queue: str) -> int:
        """Drop what is ready and delayed."""
        return int(self._server.run("remove", queue, False))

    def delete_queue(self, queue: str) -> None:
        """Remove a queue with everything in it, claims included."""
        self._server.run("remove", queue, True)

    def handback(self, queue: str, *, force: bool = False) -> HandedBack:
        """Return everything of a queue to Celery's lists."""
        return hand_back(self._server, queue, self.workers, force=force)

    def close(self) -> None:
        """Close this process's idle connections."""
        if "_sender" in self.__dict__:
            self._sender.close()
        self._server.close()


def _commands(outgoing: Sequence[Outgoing], clustered: bool) -> list[bytes]:
    """One LPUSH a list, one ZADD a queue's delayed messages."""
    pushes: dict[str, list[bytes]] = {}
    adds: dict[str, list[bytes | float]] = {}
    for one in outgoing:
        step, envelope = lane(one.message), encode(one.queue, one.message, one.due_at)
        if one.due_at is None or one.due_at <= 0:
            pushes.setdefault(lane_list(one.queue, step, clustered), []).append(envelope)
        else:
            adds.setdefault(own(one.queue, "delayed"), []).extend((one.due_at, step.encode() + envelope))
    return [pack("LPUSH", name, *envelopes) for name, envelopes in pushes.items()] + [
        pack("ZADD", name, *entries) for name, entries in adds.items()
    ]


def _depth(row: list[Any]) -> QueueDepth:
    ready, leased, delayed, since, due = row
    return QueueDepth(
        ready=ready,
        leased=leased,
        delayed=delayed,
        oldest_ready_at=float(since) if since else None,
        next_due_at=float(due) if due else None,
    )
