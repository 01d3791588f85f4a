"""Results in an SQLite file, which may be the broker's. Who waits for a result sleeps on a bell that its end rings.

Uses the broker's connection, gate and errors; knows nothing of messages.
"""

from __future__ import annotations

import contextlib
import select
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from longshore.brokers.sqlite.address import parse_address
from longshore.brokers.sqlite.bells import Bell
from longshore.brokers.sqlite.database import Database
from longshore.exceptions import BackendError, BrokerError
from longshore.results.port import DEFAULT_EXPIRES_SECONDS, ResultBackend, ResultMeta
from longshore.results.rows import ENDED, STORE, bell_name, decode, now_ms, to_row
from longshore.results.sqlite_chords import SQLiteChords

_LOOK_SECONDS = 0.25
_LOOK_SECONDS_WITHOUT_BELL = 0.02
_PURGE_SECONDS = 60.0
_PURGE_AT_ONCE = 1000

_FETCH = "SELECT body FROM results WHERE task_id = ? AND (expires_at = 0 OR expires_at > ?)"
_PURGE = """
DELETE FROM results WHERE task_id IN
  (SELECT task_id FROM results WHERE expires_at > 0 AND expires_at <= ? ORDER BY expires_at LIMIT ?)
"""


def open(url: str) -> ResultBackend:  # noqa: A001 - the name that the registry calls
    """Return the backend for ``sqlite:///FILE``; the file is opened, or made, with the first call."""
    return SQLiteResults(url)


class SQLiteResults(SQLiteChords):
    """States by task id."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._database = Database(parse_address(url))
        self._purge_at = 0.0

    def store(self, metas: Sequence[ResultMeta], *, expires: float | None = DEFAULT_EXPIRES_SECONDS) -> None:
        """Store states in one transaction, and ring for those that ended."""
        now = now_ms()
        with _as_backend_error():
            rows = [to_row(meta, expires, now) for meta in metas]
            self._database.write(lambda connection: connection.executemany(STORE, rows))
            self._database.ring(bell_name(meta.task_id) for meta in metas if meta.status in ENDED)
            self._purge(now)

    def fetch(self, task_ids: Sequence[str]) -> list[ResultMeta | None]:
        """Return the states on one snapshot."""
        now = now_ms()

        def work(connection: sqlite3.Connection) -> list[ResultMeta | None]:
            found = [connection.execute(_FETCH, (task_id, now)).fetchall() for task_id in task_ids]
            return [decode(rows[0][0]) if rows else None for rows in found]

        with _as_backend_error():
            return self._database.read(work)

    def wait(self, task_id: str, timeout: float | None) -> ResultMeta | None:
        """Sleep until the bell of this task rings; look four times a second all the same."""
        if (ended := self._ended(task_id)) is not None:
            return ended
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._bell(task_id) as bell:
            while (ended := self._ended(task_id)) is None:
                remaining = _LOOK_SECONDS if deadline is None else deadline - time.monotonic()
                if bell is not None:
                    bell.hush()  # What rang was no end; had it been one, the ring would stay for the other waiters.
                if remaining <= 0:
                    return None
                _sleep(bell, remaining)
        return ended

    def forget(self, task_ids: Sequence[str]) -> None:
        """Remove the stored states."""
        rows = [(task_id,) for task_id in task_ids]
        with _as_backend_error():
            self._database.write(
                lambda connection: connection.executemany("DELETE FROM results WHERE task_id = ?", rows)
            )

    def close(self) -> None:
        """Close the connection of this process; a later call opens it again."""
        self._database.close()

    def _ended(self, task_id: str) -> ResultMeta | None:
        meta = self.fetch([task_id])[0]
        return meta if meta is not None and meta.status in ENDED else None

    def _purge(self, now: int) -> None:
        """Remove some of what has expired, every minute."""
        if time.monotonic() >= self._purge_at:
            self._purge_at = time.monotonic() + _PURGE_SECONDS
            self._database.write(lambda connection: connection.execute(_PURGE, (now, _PURGE_AT_ONCE)))

    @contextlib.contextmanager
    def _bell(self, task_id: str) -> Iterator[Bell | None]:
        """Listen for the end of one task. Several may: each looks when it rings, and nobody takes the ring away."""
        try:
            bell = Bell(self._database.folder, bell_name(task_id))
        except OSError:
            yield None
            return
        try:
            yield bell
        finally:
            bell.close()
            Path(bell.path).unlink(missing_ok=True)


def _sleep(bell: Bell | None, seconds: float) -> None:
    if bell is None:
        time.sleep(min(seconds, _LOOK_SECONDS_WITHOUT_BELL))
        return
    poll = select.poll()
    poll.register(bell.fd, select.POLLIN)
    poll.poll(min(seconds, _LOOK_SECONDS) * 1000)


@contextlib.contextmanager
def _as_backend_error() -> Iterator[None]:
    try:
        yield
    except BrokerError as error:
        raise BackendError(str(error)) from error
    except TypeError as error:
        raise BackendError(f"a result cannot be stored: {error}") from error
