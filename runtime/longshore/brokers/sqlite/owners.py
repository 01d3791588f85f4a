"""Owners of claims as rows and locks; and peers that watch each other, so that a dead one's claims are soon back.

A worker's supervisor is an owner too, its guardian: as long as it lives, it alone says what its children had started.
"""

from __future__ import annotations

import contextlib
import os
import select
import sqlite3
import time
from typing import Any

from longshore.brokers.port import Owner
from longshore.brokers.sqlite import ledger
from longshore.brokers.sqlite.database import Database

GUARDIAN = -1
"""The slot of a supervisor."""
GUARDIAN_GRACE_SECONDS = 1.0
"""How long a living guardian may take over itself before the others do."""
MAX_WATCHED = 64


def register(database: Database, owner: Owner) -> int:
    """Make a new owner that lives as long as this process, or until it is retired. Its number was never used before.

    It is locked before anybody can see it: seen without its lock it would be taken for dead.
    """
    database.ensure_open()

    def insert(connection: sqlite3.Connection) -> int:
        row = (owner.worker, owner.slot, os.getpid())
        number = connection.execute("INSERT INTO owners(worker, slot, pid) VALUES (?, ?, ?)", row).lastrowid
        assert number is not None
        database.life.live(number)
        return number

    return database.write(insert)


def retire(database: Database, number: int) -> set[int]:
    """Give back what an owner of this process holds, uncounted, and end it; return the queues that got something."""

    def delete(connection: sqlite3.Connection) -> set[int]:
        queues = ledger.give_back_all(connection, number)
        connection.execute("DELETE FROM owners WHERE id = ?", (number,))
        return queues

    queues = database.write(delete)
    database.life.end(number)
    return queues


class Peers:
    """The other owners: swept every second, and those of this host watched by pidfd in between."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._epoll = select.epoll()
        self._watched: dict[int, int] = {}
        self._dead_since: dict[int, float] = {}

    def fileno(self) -> int:
        """Return a descriptor that is readable when a peer has died."""
        return self._epoll.fileno()

    def somebody_died(self) -> bool:
        """Whether a watched process has ended since the last sweep."""
        return bool(self._watched) and bool(self._epoll.poll(0))

    def sweep(self) -> list[int]:
        """Take over what dead owners hold; return the queue of each message, after ringing."""
        self._database.ensure_open()
        rows: list[Any] = self._database.peek("SELECT id, worker, slot, pid FROM owners")
        alive = [row for row in rows if self._database.life.alive(row[0])]
        self._watch({row[0]: row[3] for row in alive if row[3] != os.getpid()})
        guarded = {row[1] for row in alive if row[2] == GUARDIAN}
        living = {row[0] for row in alive}
        dead = [row for row in rows if row[0] not in living]
        self._dead_since = {row[0]: self._dead_since.get(row[0], time.monotonic()) for row in dead}
        return self._take_over([row[0] for row in dead if row[1] not in guarded or self._overdue(row[0])])

    def close(self) -> None:
        """Stop watching."""
        self._watch({})
        self._epoll.close()

    def _take_over(self, owners: list[int]) -> list[int]:
        if not owners:
            return []

        def work(connection: sqlite3.Connection) -> list[int]:
            return [queue for owner in owners for queue in ledger.take_over(connection, owner)]

        queues = self._database.write(work)
        self._database.ring_queues(queues)
        return queues

    def _overdue(self, owner: int) -> bool:
        return time.monotonic() - self._dead_since[owner] > GUARDIAN_GRACE_SECONDS

    def _watch(self, pids: dict[int, int]) -> None:
        """Watch these owners' processes; a process of another pid namespace is found by the sweep alone."""
        for owner in self._watched.keys() - pids.keys():
            self._unwatch(owner)
        for owner in list(pids.keys() - self._watched.keys())[: MAX_WATCHED - len(self._watched)]:
            with contextlib.suppress(OSError):
                self._watched[owner] = fd = os.pidfd_open(pids[owner])
                self._epoll.register(fd, select.EPOLLIN)

    def _unwatch(self, owner: int) -> None:
        """Take it out of the epoll by hand: a forked child may have a copy of the descriptor."""
        fd = self._watched.pop(owner)
        self._epoll.unregister(fd)
        os.close(fd)
