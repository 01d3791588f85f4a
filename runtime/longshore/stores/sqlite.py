"""The store in an SQLite file, which may be the broker's. One transaction decides each question.

Uses the broker's connection, gate and errors. The clock is this host's, the only one there is. The tables are made
when they are first needed, so that a file of an older version gains them and keeps working with that version.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from longshore.brokers.sqlite.address import parse_address
from longshore.brokers.sqlite.database import Database, T, Work
from longshore.core.ratelimit import Rate, Turn
from longshore.exceptions import BackendError, BrokerError
from longshore.stores.port import Marks, Store

_PURGE_AT_ONCE = 100
_LONGEST_MICROSECONDS = 10**15

_TABLES = """
CREATE TABLE IF NOT EXISTS locks(
  name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS locks_expiry ON locks(expires_at);
CREATE TABLE IF NOT EXISTS turns(key TEXT PRIMARY KEY, turn INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes(
  kind TEXT NOT NULL, id TEXT NOT NULL, cursor INTEGER NOT NULL, expires_at INTEGER NOT NULL,
  PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS notes_by_cursor ON notes(kind, cursor);
CREATE TABLE IF NOT EXISTS counts(
  key TEXT PRIMARY KEY, total INTEGER NOT NULL, expires_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS counts_expiry ON counts(expires_at);
CREATE TABLE IF NOT EXISTS counted(key TEXT NOT NULL, member TEXT NOT NULL, PRIMARY KEY (key, member)) WITHOUT ROWID;
"""

_PURGE = "DELETE FROM marks WHERE key IN (SELECT key FROM marks WHERE expires_at <= ? LIMIT ?)"
_CLAIM = """
INSERT INTO marks(key, holder, expires_at) VALUES (?1, ?2, ?3)
ON CONFLICT(key) DO UPDATE SET holder = ?2, expires_at = ?3 WHERE expires_at <= ?4
"""
_PURGE_LOCKS = "DELETE FROM locks WHERE name IN (SELECT name FROM locks WHERE expires_at <= ? LIMIT ?)"
_ACQUIRE = """
INSERT INTO locks(name, holder, expires_at) VALUES (?1, ?2, ?3)
ON CONFLICT(name) DO UPDATE SET holder = ?2, expires_at = ?3 WHERE expires_at <= ?4 OR holder = ?2
"""
_RENEW = "UPDATE locks SET expires_at = ? WHERE name = ? AND holder = ? AND expires_at > ?"
_RELEASE = "DELETE FROM locks WHERE name = ? AND holder = ? AND expires_at > ?"
_TAKE = "INSERT INTO turns(key, turn) VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET turn = ?2"
_MARK = """
INSERT INTO notes(kind, id, cursor, expires_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT(kind, id) DO UPDATE SET cursor = ?3, expires_at = ?4
"""
_COUNT = """
INSERT INTO counts(key, total, expires_at) VALUES (?1, ?2, ?3)
ON CONFLICT(key) DO UPDATE SET total = total + ?2, expires_at = ?3 RETURNING total
"""


def open(url: str) -> Store:  # noqa: A001 - the name that the registry calls
    """Return the store for ``sqlite:///FILE``; the file is opened, or made, with the first call."""
    return SQLiteStore(url)


class SQLiteStore:
    """The port's `Store`. Times in the file are whole microseconds since the epoch, `marks` milliseconds."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._database = Database(parse_address(url))
        self._prepared = False

    def claim_once(self, key: str, holder: str, *, expires: float) -> bool:
        """Set the mark unless another holder's is there and has not expired."""
        now = _now() // 1000

        def work(connection: sqlite3.Connection) -> bool:
            connection.execute(_PURGE, (now, _PURGE_AT_ONCE))
            connection.execute(_CLAIM, (key, holder, now + int(expires * 1000), now))
            held: str = connection.execute("SELECT holder FROM marks WHERE key = ?", (key,)).fetchall()[0][0]
            return held == holder

        return self._write(work)

    # -- locks -------------------------------------------------------------------------------------------------------

    def acquire(self, name: str, holder: str, *, expires: float) -> float:
        """Take the lock, or say when it is free."""

        def work(connection: sqlite3.Connection) -> float:
            now = _now()
            connection.execute(_PURGE_LOCKS, (now, _PURGE_AT_ONCE))
            connection.execute(_ACQUIRE, (name, holder, now + _microseconds(expires), now))
            query = "SELECT holder, expires_at FROM locks WHERE name = ?"
            present, until = connection.execute(query, (name,)).fetchall()[0]
            return 0.0 if present == holder else max(until - now, 1) / 1e6

        return self._write(work)

    def renew(self, name: str, holder: str, *, expires: float) -> bool:
        """Prolong the lock."""

        def work(connection: sqlite3.Connection) -> bool:
            now = _now()
            return connection.execute(_RENEW, (now + _microseconds(expires), name, holder, now)).rowcount > 0

        return self._write(work)

    def release(self, name: str, holder: str) -> bool:
        """Free the lock."""
        return self._write(lambda connection: connection.execute(_RELEASE, (name, holder, _now())).rowcount > 0)

    # -- rates -------------------------------------------------------------------------------------------------------

    def take(self, key: str, rate: Rate, *, count: int = 1, horizon: float = 0.0) -> Turn:
        """Take turns, or say when the next one is."""

        def work(connection: sqlite3.Connection) -> Turn:
            now = _now()
            interval = round(rate.interval * 1e6)
            rows = connection.execute("SELECT turn FROM turns WHERE key = ?", (key,)).fetchall()
            turn = max(rows[0][0] + interval if rows else 0, now)
            taken = turn - now <= horizon * 1e6
            if taken:
                connection.execute(_TAKE, (key, turn + interval * (count - 1)))
            return Turn((turn - now) / 1e6, taken=taken)

        return self._write(work)

    # -- marks -------------------------------------------------------------------------------------------------------

    def mark(self, kind: str, ids: Sequence[str], *, expires: float) -> None:
        """Set marks."""

        def work(connection: sqlite3.Connection) -> None:
            now = _now()
            connection.execute("DELETE FROM notes WHERE kind = ? AND expires_at <= ?", (kind, now))
            first = max(_newest(connection, kind) + 1, now)
            until = now + _microseconds(expires)
            connection.executemany(_MARK, [(kind, one, first + number, until) for number, one in enumerate(ids)])

        if ids:
            self._write(work)

    def marked(self, kind: str, since: int = 0) -> Marks:
        """Return the newer marks."""

        def work(connection: sqlite3.Connection) -> Marks:
            query = "SELECT id FROM notes WHERE kind = ? AND cursor > ? AND expires_at > ? ORDER BY cursor"
            rows = connection.execute(query, (kind, since, _now())).fetchall()
            return Marks(max(since, _newest(connection, kind)), [row[0] for row in rows])

        return self._read(work)

    def unmark(self, kind: str, ids: Sequence[str]) -> None:
        """Remove marks."""
        rows = [(kind, one) for one in ids]
        self._write(lambda connection: connection.executemany("DELETE FROM notes WHERE kind = ? AND id = ?", rows))

    # -- counts ------------------------------------------------------------------------------------------------------

    def count(self, key: str, member: str, *, expires: float) -> int:
        """Add a member and count."""

        def work(connection: sqlite3.Connection) -> int:
            now = _now()
            _forget_expired_counts(connection, key, now)
            new = connection.execute("INSERT OR IGNORE INTO counted(key, member) VALUES (?, ?)", (key, member)).rowcount
            return int(connection.execute(_COUNT, (key, new, now + _microseconds(expires))).fetchall()[0][0])

        return self._write(work)

    def close(self) -> None:
        """Close the connection of this process; a later call opens it again."""
        self._database.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _write(self, work: Work[T]) -> T:
        try:
            self._prepare()
            return self._database.write(work)
        except BrokerError as error:
            raise BackendError(str(error)) from error

    def _read(self, work: Work[T]) -> T:
        try:
            self._prepare()
            return self._database.read(work)
        except BrokerError as error:
            raise BackendError(str(error)) from error

    def _prepare(self) -> None:
        if not self._prepared:
            self._database.write(_make_tables)
            self._prepared = True


def _make_tables(connection: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";"):
        connection.execute(statement)


def _forget_expired_counts(connection: sqlite3.Connection, key: str, now: int) -> None:
    """This one, if it has expired, and a few others."""
    query = "SELECT key FROM counts WHERE expires_at <= ?1 ORDER BY key = ?2 DESC LIMIT ?3"
    expired = connection.execute(query, (now, key, _PURGE_AT_ONCE)).fetchall()
    connection.executemany("DELETE FROM counted WHERE key = ?", expired)
    connection.executemany("DELETE FROM counts WHERE key = ?", expired)


def _newest(connection: sqlite3.Connection, kind: str) -> int:
    return int(connection.execute("SELECT max(cursor) FROM notes WHERE kind = ?", (kind,)).fetchall()[0][0] or 0)


def _now() -> int:
    return time.time_ns() // 1000


def _microseconds(seconds: float) -> int:
    return min(max(int(seconds * 1e6), 1), _LONGEST_MICROSECONDS)
