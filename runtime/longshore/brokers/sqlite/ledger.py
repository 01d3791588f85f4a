"""What happens to messages, inside a transaction that somebody else opened: put, claim, settle, promote, take over.

Every function takes the connection and values, and returns values: a transaction may be run again when the disk was
full. Knows nothing of processes, bells or waiting.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longshore.brokers.port import Outgoing, Started
from longshore.brokers.sqlite import schema
from longshore.brokers.sqlite.codec import decode_message, dump_message
from longshore.message import SENTENCE_HEADER, Message
from longshore.results.rows import STORE_OF_CLAIM

PROMOTE_AT_ONCE = 1000

Row = tuple[int, int, int, bytes]
"""Of a message to put, after its queue: rank, due_at, ready_at, body."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A settlement as rows: the message `id` of `owner` goes, after `sends` came; or it goes back."""

    id: int
    owner: int
    sends: tuple[tuple[str, Row], ...] = ()
    give_back: bool = False
    counted: bool = False
    queue: int = 0


@dataclass(slots=True)
class Settled:
    """What settling did: settlements that came too late, and queues that have something new, by number or by name."""

    late: int = 0
    queues: set[int] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


def now_ms() -> int:
    """Return the time as the tables hold it."""
    return time.time_ns() // 1_000_000


def to_row(outgoing: Outgoing, now: int) -> Row:
    """Return a message as a row, but for its queue; a due time rounds up, so that nothing fires early."""
    message = outgoing.message
    body = dump_message(message)
    if outgoing.due_at is None or (due := math.ceil(outgoing.due_at * 1000)) <= now:
        return (-message.priority, 0, now, body)
    return (-message.priority, due, 0, body)


def settle(
    connection: sqlite3.Connection,
    plain: Sequence[tuple[int, int]],
    endings: Sequence[Ending],
    results: Sequence[tuple[Any, ...]] = (),
) -> Settled:
    """Carry out settlements: `plain` ones are (id, owner) to remove. What is not the owner's any more is left alone.

    `results`, each with its message and owner, are stored while the claims are still there.
    """
    settled = Settled()
    if results:
        connection.executemany(STORE_OF_CLAIM, results)
    if plain:
        settled.late = len(plain) - connection.executemany(schema.SETTLE, plain).rowcount
    for ending in endings:
        if not _end(connection, ending):
            settled.late += 1
        elif ending.give_back:
            settled.queues.add(ending.queue)
        settled.names.update(queue for queue, _ in ending.sends)
    return settled


def _end(connection: sqlite3.Connection, ending: Ending) -> bool:
    if ending.give_back:
        parameters: tuple[int, ...] = (int(ending.counted), ending.id, ending.owner)
        ours = connection.execute(schema.GIVE_BACK, parameters).rowcount == 1
    else:
        ours = connection.execute(schema.SETTLE, (ending.id, ending.owner)).rowcount == 1
    if ours and ending.sends:
        connection.executemany(schema.NAME_QUEUE, [(queue,) for queue, _ in ending.sends])
        connection.executemany(schema.PUT_BY_NAME, [(queue, *row) for queue, row in ending.sends])
    return ours


def promote(connection: sqlite3.Connection, queues: Sequence[int], now: int) -> set[int]:
    """Make due messages ready, at most `PROMOTE_AT_ONCE`; return the queues that got some."""
    promoted: list[tuple[int]] = []
    got: set[int] = set()
    for queue in queues:
        room = PROMOTE_AT_ONCE - len(promoted)
        due = connection.execute(schema.DUE, (queue, now, room)).fetchall() if room else []
        promoted += due
        got |= {queue} if due else set()
    if promoted:
        connection.executemany(schema.PROMOTE, promoted)
    return got


def give_back_all(connection: sqlite3.Connection, owner: int) -> set[int]:
    """Return everything that an owner holds, uncounted; return the queues that got something."""
    queues = held_queues(connection, owner)
    connection.execute(schema.GIVE_BACK_ALL, (owner,))
    return queues


def take_over(connection: sqlite3.Connection, owner: int) -> list[int]:
    """Return what an owner held that died without a witness: the queue of each message.

    One that it had claimed while it held nothing else, and still held alone, had started: it counts. Of several
    nobody knows which one had: they are suspects, uncounted, and will be claimed one at a time.
    """
    held = connection.execute("SELECT id, solo, queue FROM messages WHERE owner = ?", (owner,)).fetchall()
    if len(held) == 1 and held[0][1]:
        connection.execute(schema.GIVE_BACK, (1, held[0][0], owner))
    else:
        connection.execute(schema.SUSPECT_ALL, (owner,))
    connection.execute("DELETE FROM owners WHERE id = ?", (owner,))
    return [queue for _, _, queue in held]


def release(connection: sqlite3.Connection, owner: int, said: Mapping[str, Started]) -> list[int]:
    """Return what an owner held whose supervisor saw which tasks had started, by their ids.

    A sentence is written into its message: the row stays as it is for all others.
    """
    held = connection.execute("SELECT id, body, queue FROM messages WHERE owner = ?", (owner,)).fetchall()
    for row, body, _ in held if said else ():
        message = decode_message(body)
        if (started := said.get(message.id or "")) is not None:
            _say(connection, row, message, started)
    connection.execute(schema.GIVE_BACK_ALL, (owner,))
    connection.execute("DELETE FROM owners WHERE id = ?", (owner,))
    return [queue for _, _, queue in held]


def _say(connection: sqlite3.Connection, row: int, message: Message, started: Started) -> None:
    """A message with a sentence always counts: its start is why it has one, and it is claimed alone."""
    if started.counted or started.sentence:
        connection.execute("UPDATE messages SET deliveries = deliveries + 1 WHERE id = ?", (row,))
    if started.sentence:
        body = dump_message(message.with_headers({SENTENCE_HEADER: started.sentence}))
        connection.execute("UPDATE messages SET body = ? WHERE id = ?", (body, row))


def held_queues(connection: sqlite3.Connection, owner: int) -> set[int]:
    """Return the queues of what an owner holds."""
    rows: list[tuple[Any, ...]] = connection.execute("SELECT queue FROM messages WHERE owner = ?", (owner,)).fetchall()
    return {row[0] for row in rows}
