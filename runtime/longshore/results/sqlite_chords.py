"""Chords and saved groups in an SQLite file: one transaction does what `longshore.core.chord.Progress` does.

The tables are made when they are first needed, so that a file of an older version gains them and keeps working.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from longshore.brokers.sqlite.database import Database
from longshore.core.chord import CLAIM_SECONDS, Counted, Over, Part, Taken, Waiting, Whole, in_order
from longshore.exceptions import BackendError, BrokerError
from longshore.message import dump_body, load_text

_TABLES = """
CREATE TABLE IF NOT EXISTS chords(
  group_id TEXT PRIMARY KEY, size INTEGER, holder TEXT,
  held_until INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, expires_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chords_expiry ON chords(expires_at) WHERE expires_at > 0;
CREATE TABLE IF NOT EXISTS chord_parts(
  group_id TEXT NOT NULL, position INTEGER NOT NULL, task_id TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (group_id, position, task_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chord_additions(
  group_id TEXT NOT NULL, task_id TEXT NOT NULL, PRIMARY KEY (group_id, task_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS saved_groups(
  group_id TEXT PRIMARY KEY, body TEXT NOT NULL, expires_at INTEGER NOT NULL) WITHOUT ROWID;
"""
_NOTE = """
INSERT INTO chords(group_id, expires_at) VALUES (?1, ?2) ON CONFLICT(group_id) DO UPDATE SET expires_at = ?2
RETURNING size, holder, held_until, done
"""
_FORGET = (
    "DELETE FROM chords WHERE group_id = ?",
    "DELETE FROM chord_parts WHERE group_id = ?",
    "DELETE FROM chord_additions WHERE group_id = ?",
)
_EXPIRED = "SELECT group_id FROM chords WHERE expires_at > 0 AND expires_at <= ? LIMIT 100"
_COUNTS = """
SELECT (SELECT count(*) FROM chord_parts WHERE group_id = ?1),
  (SELECT count(*) FROM chord_additions WHERE group_id = ?1)
"""
_NO_POSITION = 2**62

T = TypeVar("T")


class SQLiteChords:
    """The part of the port that is about chords and groups."""

    _database: Database
    _has_chords = False

    def start_chords(self, chords: Mapping[str, int], *, anew: bool, expires: float | None) -> None:
        """Note sizes."""
        now = _now()

        def work(connection: sqlite3.Connection) -> None:
            for (expired,) in connection.execute(_EXPIRED, (now,)).fetchall():
                _forget(connection, expired)
            for group_id, size in chords.items():
                if anew:
                    _forget(connection, group_id)
                connection.execute(_NOTE, (group_id, _until(now, expires))).fetchall()
                connection.execute("UPDATE chords SET size = ? WHERE group_id = ?", (size, group_id))

        self._write(work)

    def grow_chord(self, group_id: str, task_id: str, *, expires: float | None) -> None:
        """Await one more part."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_NOTE, (group_id, _until(_now(), expires))).fetchall()
            connection.execute("INSERT OR IGNORE INTO chord_additions VALUES (?, ?)", (group_id, task_id))

        self._write(work)

    def count_parts(self, parts: Sequence[Part], *, expires: float | None) -> list[Counted]:
        """Take in parts, in one transaction."""
        if not parts:
            return []
        now = _now()
        return self._write(lambda connection: [_count(connection, part, now, _until(now, expires)) for part in parts])

    def finish_chord(self, group_id: str, claimant: str, *, expires: float | None) -> None:
        """Mark it as over."""

        def work(connection: sqlite3.Connection) -> None:
            marked = connection.execute(
                "UPDATE chords SET done = 1, expires_at = ? WHERE group_id = ? AND holder = ?",
                (_until(_now(), expires), group_id, claimant),
            )
            if marked.rowcount:
                for statement in _FORGET[1:]:
                    connection.execute(statement, (group_id,))

        self._write(work)

    def save_group(self, group_id: str, result: Any, *, expires: float | None) -> None:
        """Keep a group."""
        row = (group_id, json.dumps(result), _until(_now(), expires))
        self._write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO saved_groups(group_id, body, expires_at) VALUES (?, ?, ?)", row
            )
        )

    def restore_group(self, group_id: str) -> Any:
        """Return a kept group."""
        find = "SELECT body FROM saved_groups WHERE group_id = ? AND (expires_at = 0 OR expires_at > ?)"
        rows = self._write(lambda connection: connection.execute(find, (group_id, _now())).fetchall())
        return json.loads(rows[0][0]) if rows else None

    def delete_group(self, group_id: str) -> None:
        """Forget a kept group."""
        self._write(lambda connection: connection.execute("DELETE FROM saved_groups WHERE group_id = ?", (group_id,)))

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def with_tables(connection: sqlite3.Connection) -> T:
            if not self._has_chords:
                for statement in filter(str.strip, _TABLES.split(";")):
                    connection.execute(statement)
            return work(connection)

        with _as_backend_error():
            done = self._database.write(with_tables)
            self._has_chords = True
            return done


def _count(connection: sqlite3.Connection, part: Part, now: int, expires_at: int) -> Counted:
    [(size, holder, held_until, done)] = connection.execute(_NOTE, (part.group_id, expires_at)).fetchall()
    if done:
        return Over()
    position = _NO_POSITION if part.index is None else part.index
    body = dump_body([part.status, part.result])
    connection.execute(
        "INSERT OR IGNORE INTO chord_parts VALUES (?, ?, ?, ?)", (part.group_id, position, part.task_id, body)
    )
    [(count, added)] = connection.execute(_COUNTS, (part.group_id,)).fetchall()
    if size is None or count < size + added:
        return Waiting()
    if holder not in {None, part.claimant} and now < held_until:
        return Taken()
    connection.execute(
        "UPDATE chords SET holder = ?, held_until = ? WHERE group_id = ?",
        (part.claimant, now + int(CLAIM_SECONDS * 1000), part.group_id),
    )
    reading = "SELECT position, task_id, body FROM chord_parts WHERE group_id = ?"
    return Whole(in_order(_part(part.group_id, *row) for row in connection.execute(reading, (part.group_id,))))


def _part(group_id: str, position: int, task_id: str, body: bytes) -> Part:
    status, result = load_text(body)
    return Part(group_id, task_id, None if position == _NO_POSITION else position, status, result)


def _forget(connection: sqlite3.Connection, group_id: str) -> None:
    for statement in _FORGET:
        connection.execute(statement, (group_id,))


def _now() -> int:
    return time.time_ns() // 1_000_000


def _until(now: int, expires: float | None) -> int:
    return 0 if expires is None else now + int(expires * 1000)


@contextlib.contextmanager
def _as_backend_error() -> Any:
    try:
        yield
    except BrokerError as error:
        raise BackendError(str(error)) from error
