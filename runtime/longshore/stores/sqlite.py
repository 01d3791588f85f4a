"""Shared marks with an expiry in an SQLite file, which may be the broker's.

Uses the broker's connection, gate and errors. The clock is this host's, the only one there is.
"""

from __future__ import annotations

import sqlite3
import time

from longshore.brokers.sqlite.address import parse_address
from longshore.brokers.sqlite.database import Database
from longshore.exceptions import BackendError, BrokerError
from longshore.stores.port import Store

_PURGE_AT_ONCE = 100

_PURGE = "DELETE FROM marks WHERE key IN (SELECT key FROM marks WHERE expires_at <= ? LIMIT ?)"
_CLAIM = """
INSERT INTO marks(key, holder, expires_at) VALUES (?1, ?2, ?3)
ON CONFLICT(key) DO UPDATE SET holder = ?2, expires_at = ?3 WHERE expires_at <= ?4
"""


def open(url: str) -> Store:  # noqa: A001 - the name that the registry calls
    """Return the store for ``sqlite:///FILE``; the file is opened, or made, with the first call."""
    return SQLiteStore(url)


class SQLiteStore:
    """Marks by key."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._database = Database(parse_address(url))

    def claim_once(self, key: str, holder: str, *, expires: float) -> bool:
        """Set the mark unless another holder's is there and has not expired; one transaction decides."""
        now = time.time_ns() // 1_000_000

        def work(connection: sqlite3.Connection) -> bool:
            connection.execute(_PURGE, (now, _PURGE_AT_ONCE))
            connection.execute(_CLAIM, (key, holder, now + int(expires * 1000), now))
            held: str = connection.execute("SELECT holder FROM marks WHERE key = ?", (key,)).fetchall()[0][0]
            return held == holder

        try:
            return self._database.write(work)
        except BrokerError as error:
            raise BackendError(str(error)) from error

    def close(self) -> None:
        """Close the connection of this process; a later call opens it again."""
        self._database.close()
