"""Which messages a consumer gets next: priority, then age; queue after queue in turn; a suspect alone.

Works inside the consumer's transaction; decides nothing about waiting.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from longshore.brokers.sqlite import schema

SUSPECT_PATIENCE_SECONDS = 1.0
"""How long a consumer that holds something stops claiming for a message that should run alone; then it takes it all the
same. With each further suspicion it waits 4 times longer, so that in the end a poison message is caught alone.
"""
_PATIENCE_STEPS = 6

_READY = "SELECT 1 FROM messages WHERE queue = queues.id AND owner = 0 AND due_at = 0"
_ALONE = "SELECT 1 FROM messages WHERE queue = queues.id AND owner < 0"
_DUE = "SELECT 1 FROM messages WHERE queue = queues.id AND due_at > 0 AND due_at <= ?"
_NEXT = "SELECT due_at FROM messages WHERE queue = queues.id AND due_at > 0 ORDER BY due_at LIMIT 1"


@dataclass(slots=True)
class Claimed:
    """Rows (id, rank, deliveries, redelivered, body), each with its queue, in the order in which they should run."""

    rows: list[tuple[int, tuple[int, int, int, int, bytes]]] = field(default_factory=list)
    exhausted: bool = True
    """Whether the queues have nothing more for anybody."""
    last_queue: int = 0


class Claimer:
    """The turn of the queues, and the statements for exactly these queues."""

    def __init__(self, queues: Sequence[int]) -> None:
        among = ", ".join(str(queue) for queue in queues) or "NULL"
        self._queues = sorted(queues)
        self._turn = 0
        self._awaited: dict[int, float] = {}
        work = f"EXISTS({_READY}) OR EXISTS({_ALONE}) OR EXISTS({_DUE})"
        self.has_work = f"SELECT 1 FROM queues WHERE id IN ({among}) AND ({work}) LIMIT 1"  # noqa: S608
        self.next_due = f"SELECT min(({_NEXT})) FROM queues WHERE id IN ({among})"  # noqa: S608
        self.with_due = f"SELECT id FROM queues WHERE id IN ({among}) AND EXISTS({_DUE})"  # noqa: S608
        self._next_queue = (
            f"SELECT id FROM queues WHERE id IN ({among}) AND id > ? AND (EXISTS({_READY}) OR EXISTS({_ALONE})) "  # noqa: S608
            "ORDER BY id LIMIT 1"
        )

    def claim(self, connection: sqlite3.Connection, owner: int, limit: int, idle: bool) -> Claimed:
        """Claim up to `limit` messages. `idle` says that the owner holds nothing else."""
        if len(self._queues) == 1:
            claimed = Claimed()
            self._from_queue(connection, self._queues[0], owner, limit, idle, claimed)
            return claimed
        return self._in_turn(connection, owner, limit, idle)

    def passed(self, queue: int) -> None:
        """Note, after the commit, that the queues up to this one had their turn."""
        self._turn = queue

    def _in_turn(self, connection: sqlite3.Connection, owner: int, limit: int, idle: bool) -> Claimed:
        claimed, turn = Claimed(last_queue=self._turn), self._turn
        for _ in self._queues:
            queue = self._after(connection, turn)
            if queue is None:
                break
            room = limit - len(claimed.rows)
            if not self._from_queue(connection, queue, owner, room, idle, claimed):
                break
            claimed.last_queue = turn = queue
            if len(claimed.rows) == limit:
                break
        return claimed

    def _after(self, connection: sqlite3.Connection, turn: int) -> int | None:
        """Return the next queue in turn that has something."""
        for start in (turn, 0):
            found = connection.execute(self._next_queue, (start,)).fetchall()
            if found:
                return int(found[0][0])
        return None

    def _from_queue(
        self, connection: sqlite3.Connection, queue: int, owner: int, room: int, idle: bool, claimed: Claimed
    ) -> bool:
        """Add what a queue gives; return whether the next queue may add to it."""
        alone = connection.execute(schema.FIRST_ALONE, (queue,)).fetchall()
        if alone and self._comes_first(connection, queue, alone[0]):
            claimed.exhausted = False
            if not claimed.rows and (idle or self._waited_enough(alone[0])):
                rows = connection.execute(schema.CLAIM_ALONE, (owner, int(idle), alone[0][1])).fetchall()
                claimed.rows += [(queue, row) for row in rows]
                claimed.last_queue = queue
                self._awaited = {}
            return False
        solo = idle and room == 1 and not claimed.rows
        rows = connection.execute(schema.CLAIM, (owner, int(solo), queue, room)).fetchall()
        rows.sort(key=_rank_and_id)
        claimed.rows += [(queue, row) for row in rows]
        claimed.exhausted = claimed.exhausted and len(rows) < room and not alone
        return True

    def _comes_first(self, connection: sqlite3.Connection, queue: int, alone: tuple[int, int, int]) -> bool:
        ready = connection.execute(schema.FIRST_READY, (queue,)).fetchall()
        return not ready or bool(alone[:2] < ready[0])

    def _waited_enough(self, alone: tuple[int, int, int]) -> bool:
        """Whether a busy consumer takes a suspect though it holds something else."""
        now = time.monotonic()
        _, row, suspicions = alone
        since = self._awaited.get(row)
        if since is None:
            self._awaited = {row: now}
            return False
        return now - since >= SUSPECT_PATIENCE_SECONDS * 4.0 ** min(max(suspicions - 1, 0), _PATIENCE_STEPS)


def _rank_and_id(row: tuple[int, int, int, int, bytes]) -> tuple[int, int]:
    return row[1], row[0]
