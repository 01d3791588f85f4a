"""The port's Broker on one SQLite file. Each method is one transaction or one read; see `sqlite-broker` in the docs.

One host, one writer at a time. A process may have several of these on one file.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

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
from longshore.brokers.sqlite import ledger, owners
from longshore.brokers.sqlite.address import parse_address
from longshore.brokers.sqlite.codec import decode_message
from longshore.brokers.sqlite.consumer import SQLiteConsumer
from longshore.brokers.sqlite.database import Database
from longshore.brokers.sqlite.owners import GUARDIAN, Peers
from longshore.brokers.sqlite.queues import QueueNumbers
from longshore.brokers.sqlite.schema import PUT
from longshore.message import Message

if TYPE_CHECKING:
    from concurrent.futures import Future

    from longshore.brokers.sender import Sender
    from longshore.results.port import ResultBackend

REPORT_SECONDS = 10.0
_CHUNK = 10_000

CAPABILITIES = Capabilities(
    name="sqlite",
    delayed=True,
    priorities=True,
    atomic_settle=True,
    counts_leased=True,
    counts_delayed=True,
    fenced=True,
    takeover_seconds=1.0,
    multi_host=False,
    celery_interop=False,
)


class SQLiteBroker:
    """A file as a broker."""

    capabilities = CAPABILITIES

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(parse_address(url))
        self._numbers = QueueNumbers(self.database)
        self._guardians: dict[str, int] = {}
        self._peers: Peers | None = None
        self._sweeping = threading.Lock()

    # -- messages ----------------------------------------------------------------------------------------------------

    def declare(self, queues: Sequence[QueueSpec]) -> None:
        """Make sure that the queues exist; type and highest priority mean nothing here."""
        self._numbers.of_all([queue.name for queue in queues if not queue.temporary], declare=True)

    def send(self, outgoing: Sequence[Outgoing], *, deadline: float = SEND_DEADLINE_SECONDS) -> None:
        """Put the messages into their queues, all or none; they are in the file when this returns."""
        now = ledger.now_ms()
        rows = [(self._numbers.of(one.queue, deadline), *ledger.to_row(one, now)) for one in outgoing]
        if len(rows) == 1:
            self.database.write(lambda connection: connection.execute(PUT, rows[0]), timeout=deadline, puts=True)
        elif rows:
            self.database.write(lambda connection: connection.executemany(PUT, rows), timeout=deadline, puts=True)
        self.database.ring_queues({row[0] for row in rows})

    def submit(self, outgoing: Outgoing, *, deadline: float = SEND_DEADLINE_SECONDS) -> Future[None]:
        """Send it with what else waits just now."""
        return self._sender.submit(outgoing, deadline)

    @cached_property
    def _sender(self) -> Sender:
        from longshore.brokers.sender import Sender, all_or_none  # for those who submit

        return Sender(all_or_none(lambda outgoing, seconds: self.send(outgoing, deadline=seconds)))

    def consumer(
        self,
        owner: Owner,
        queues: Sequence[str],
        *,
        wake_fd: int | None = None,
        results: ResultBackend | None = None,  # noqa: ARG002 - they are in this file
    ) -> SQLiteConsumer:
        """Claim as `owner`; queues that do not exist yet are watched all the same."""
        return SQLiteConsumer(self.database, self._numbers, owner, queues, wake_fd)

    def settles_results_of(self, backend: ResultBackend) -> bool:
        """Where the results are in this very file."""
        return urlsplit(backend.url).scheme == "sqlite" and parse_address(backend.url).path == self.database.path

    def peek(self, queue: str, limit: int) -> list[Message]:
        """Return the first ready messages, in the order in which they would be claimed."""
        number = self._numbers.find([queue]).get(queue)
        select = "SELECT body FROM messages WHERE queue = ? AND owner <= 0 AND due_at = 0 ORDER BY rank, id LIMIT ?"
        return [decode_message(_blob(row[0])) for row in self.database.peek(select, (number, limit))]

    def purge(self, queue: str) -> int:
        """Drop every ready and delayed message."""
        return self._delete(queue, "owner <= 0")

    def delete_queue(self, queue: str) -> None:
        """Remove the queue with all that is in it, claims too."""
        self.database.write(lambda c: c.execute("UPDATE queues SET declared = 0 WHERE name = ?", (queue,)))
        self._delete(queue, "TRUE")

    def _delete(self, queue: str, condition: str) -> int:
        """Delete in portions, so that nobody else waits for long."""
        number = self._numbers.find([queue]).get(queue)
        # A plain scan of the table: this is rare, and an index for it would cost every send.
        portion = f"DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE queue = ? AND {condition} LIMIT ?)"  # noqa: S608
        total = 0
        while number is not None:
            deleted = self.database.write(lambda c: c.execute(portion, (number, _CHUNK)).rowcount)
            total += deleted
            if deleted < _CHUNK:
                break
        return total

    # -- looking -----------------------------------------------------------------------------------------------------

    def depths(self, queues: Sequence[str]) -> Mapping[str, QueueDepth | None]:
        """Count, on one snapshot. A queue exists when it was declared, or while anything is in it."""
        return self.database.read(lambda connection: _depths(connection, queues))

    # -- workers -----------------------------------------------------------------------------------------------------

    def keep_claims(self, worker: str, slots: Sequence[int], queues: Sequence[str]) -> None:  # noqa: ARG002 - the port
        """Claims live as long as their process. The supervisor only makes itself known, as who releases them."""
        if worker not in self._guardians:
            self._guardians[worker] = owners.register(self.database, Owner(worker, GUARDIAN))

    def release_owner(self, owner: Owner, queues: Sequence[str], started: Sequence[Started]) -> int:  # noqa: ARG002
        """Give back what a dead process held; what is said of the tasks that it was running stays with them."""
        said = {each.task_id: each for each in started}

        def work(connection: sqlite3.Connection) -> list[int]:
            select = "SELECT id FROM owners WHERE worker = ? AND slot = ?"
            numbers = connection.execute(select, (owner.worker, owner.slot)).fetchall()
            return [queue for (number,) in numbers for queue in ledger.release(connection, number, said)]

        released = self.database.write(work)
        self.database.ring_queues(released)
        return len(released)

    def sweep(self, queues: Sequence[str]) -> int:
        """Take over from the dead, promote what is due, keep the file in shape."""
        numbers = self._numbers.of_all(queues)
        with self._sweeping:
            self._peers = self._peers or Peers(self.database)
            moved = len(self._peers.sweep())
        moved += self._promote(numbers)
        self.database.maintain()
        return moved

    def _promote(self, numbers: Sequence[int]) -> int:
        now = ledger.now_ms()
        due = "SELECT count(*) FROM messages WHERE queue = ? AND due_at > 0 AND due_at <= ?"
        waiting = {number: int(str(self.database.peek(due, (number, now))[0][0])) for number in numbers}
        if not any(waiting.values()):
            return 0
        promoted = self.database.write(lambda connection: ledger.promote(connection, numbers, now))
        self.database.ring_queues(promoted)
        return min(sum(waiting.values()), ledger.PROMOTE_AT_ONCE)

    def report(self, report: WorkerReport) -> None:
        """Publish a worker's report, and forget those that nobody renews."""
        row = (report.worker, int(report.at * 1000), msgspec.json.encode(report))
        stale = ledger.now_ms() - int(REPORT_SECONDS * 1000)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM workers WHERE at < ?", (stale,))
            connection.execute("INSERT OR REPLACE INTO workers(worker, at, report) VALUES (?, ?, ?)", row)

        self.database.write(work)

    def forget_worker(self, worker: str) -> None:
        """Remove a worker's report."""
        self.database.write(lambda connection: connection.execute("DELETE FROM workers WHERE worker = ?", (worker,)))

    def workers(self) -> list[WorkerReport]:
        """Return the reports that are younger than ten seconds."""
        since = int((time.time() - REPORT_SECONDS) * 1000)
        rows = self.database.peek("SELECT report FROM workers WHERE at >= ? ORDER BY worker", (since,))
        return [msgspec.json.decode(_blob(row[0]), type=WorkerReport) for row in rows]

    def close(self) -> None:
        """Close the connection of this process; a later call opens it again."""
        if "_sender" in self.__dict__:
            self._sender.close()
        if self._peers is not None:
            self._peers.close()
            self._peers = None
        while self._guardians:
            owners.retire(self.database, self._guardians.popitem()[1])
        self.database.close()
        self._numbers.clear()


def _depths(connection: sqlite3.Connection, queues: Sequence[str]) -> dict[str, QueueDepth | None]:
    leased = dict(connection.execute("SELECT queue, count(*) FROM messages WHERE owner > 0 GROUP BY queue").fetchall())
    depths: dict[str, QueueDepth | None] = {}
    for name in queues:
        found = connection.execute("SELECT id, declared FROM queues WHERE name = ?", (name,)).fetchall()
        depths[name] = _depth(connection, found[0][0], leased) if found else None
        if found and not found[0][1] and depths[name] == QueueDepth(0, 0, 0):
            depths[name] = None
    return depths


_COUNTS = """
SELECT
  (SELECT count(*) FROM messages WHERE queue = ?1 AND owner = 0 AND due_at = 0),
  (SELECT count(*) FROM messages WHERE queue = ?1 AND owner < 0),
  (SELECT count(*) FROM messages WHERE queue = ?1 AND due_at > 0),
  (SELECT due_at FROM messages WHERE queue = ?1 AND due_at > 0 ORDER BY due_at LIMIT 1)
"""
_OLDEST = "SELECT ready_at FROM messages WHERE queue = ? AND rank = ? AND owner = 0 AND due_at = 0 ORDER BY id LIMIT 1"
_OLDEST_ALONE = "SELECT min(ready_at) FROM messages WHERE queue = ? AND owner < 0"


def _depth(connection: sqlite3.Connection, queue: int, leased: dict[int, int]) -> QueueDepth:
    ready, alone, delayed, next_due = connection.execute(_COUNTS, (queue,)).fetchall()[0]
    oldest = _oldest(connection, queue) if ready + alone else None
    return QueueDepth(ready + alone, leased.get(queue, 0), delayed, _seconds(oldest), _seconds(next_due))


def _oldest(connection: sqlite3.Connection, queue: int) -> int | None:
    """Within a priority the first in line is the oldest: look at the first of each, not at all of them."""
    rows: list[Any] = connection.execute(_OLDEST_ALONE, (queue,)).fetchall()
    for rank in range(-9, 1):
        rows += connection.execute(_OLDEST, (queue, rank)).fetchall()
    return min((row[0] for row in rows if row[0] is not None), default=None)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _blob(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value
