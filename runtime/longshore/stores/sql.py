"""The store in a database, through SQLAlchemy: one transaction that locks one row decides each question.

The clock is the server's (this host's on SQLite). Keys, locks, turns and counts share a table, marks have their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from longshore.core.ratelimit import Rate, Turn
from longshore.database import Database, T
from longshore.stores.port import Marks, Store

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData, Table

_PURGE_SECONDS = 60.0
_LONGEST_MICROSECONDS = 10**15


def open(url: str) -> Store:  # noqa: A001 - the name that the registry asks every store for
    """Return the store for a ``db+…`` address, not yet connected."""
    return SQLStore(url)


@cache
def _metadata() -> MetaData:
    from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table

    def name(column: str, length: int = 255) -> Column[str]:
        return Column(column, String(length), primary_key=True)

    def number(column: str) -> Column[int]:
        return Column(column, BigInteger, nullable=False)

    made = MetaData()
    Table("longshore_keys", made, name("kind", 10), name("key"), Column("holder", String(255), nullable=False),
          number("value"), number("expires_at"), Index("longshore_keys_expiry", "expires_at"))  # fmt: skip
    Table("longshore_marks", made, name("kind", 50), name("id"), number("cursor"), number("expires_at"),
          Index("longshore_marks_cursor", "kind", "cursor"))  # fmt: skip
    Table("longshore_counted", made, name("key"), name("member"))
    return made


def _table(name: str) -> Table:
    return _metadata().tables[f"longshore_{name}"]


class SQLStore:
    """The port's `Store`. Times in the tables are whole microseconds since the epoch."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._database = Database(url, _metadata)
        self._purge_at = time.monotonic() + _PURGE_SECONDS

    def claim_once(self, key: str, holder: str, *, expires: float) -> bool:
        """Set the key unless it is set."""

        def decide(row: _Row) -> bool:
            if row.is_free:
                row.set(holder=holder, expires_at=row.now + _microseconds(expires))
            return row.holder == holder

        return self._with_row("once", key, decide)

    # -- locks -------------------------------------------------------------------------------------------------------

    def acquire(self, name: str, holder: str, *, expires: float) -> float:
        """Take the lock, or say when it is free."""

        def decide(row: _Row) -> float:
            if not row.is_free and row.holder != holder:
                return (row.expires_at - row.now) / 1e6
            row.set(holder=holder, expires_at=row.now + _microseconds(expires))
            return 0.0

        return self._with_row("lock", name, decide)

    def renew(self, name: str, holder: str, *, expires: float) -> bool:
        """Prolong the lock."""
        return self._with_row("lock", name, lambda row: _renew(row, holder, row.now + _microseconds(expires)))

    def release(self, name: str, holder: str) -> bool:
        """Free the lock."""
        return self._with_row("lock", name, lambda row: _renew(row, holder, 0))

    # -- rates -------------------------------------------------------------------------------------------------------

    def take(self, key: str, rate: Rate, *, count: int = 1, horizon: float = 0.0) -> Turn:
        """Take turns, or say when the next one is."""
        interval = round(rate.interval * 1e6)

        def decide(row: _Row) -> Turn:
            turn = max(row.value + interval if row.value else 0, row.now)
            taken = turn - row.now <= horizon * 1e6
            if taken:
                last = turn + interval * (count - 1)
                row.set(value=last, expires_at=last + interval + 1_000_000)
            return Turn((turn - row.now) / 1e6, taken=taken)

        return self._with_row("rate", key, decide)

    # -- marks -------------------------------------------------------------------------------------------------------

    def mark(self, kind: str, ids: Sequence[str], *, expires: float) -> None:
        """Set marks: one who marks at a time, so that no cursor is passed before its mark is there."""
        marks = _table("marks")

        def decide(row: _Row) -> None:
            connection = row.connection
            connection.execute(marks.delete().where(marks.c.kind == kind, marks.c.expires_at <= row.now))
            connection.execute(marks.delete().where(marks.c.kind == kind, marks.c.id.in_(list(ids))))
            first, until = max(row.value + 1, row.now), row.now + _microseconds(expires)
            rows = [
                {"kind": kind, "id": each, "cursor": first + number, "expires_at": until}
                for number, each in enumerate(dict.fromkeys(ids))
            ]
            connection.execute(marks.insert(), rows)
            row.set(value=first + len(rows), expires_at=_LONGEST_MICROSECONDS * 2)

        if ids:
            self._with_row("marks", kind, decide)

    def marked(self, kind: str, since: int = 0) -> Marks:
        """Return the newer marks."""
        from sqlalchemy import select

        marks = _table("marks")

        def read(connection: Connection) -> Marks:
            now = self._database.now(connection)
            newer = select(marks.c.id, marks.c.cursor).where(
                marks.c.kind == kind, marks.c.cursor > since, marks.c.expires_at > now
            )
            rows = connection.execute(newer.order_by(marks.c.cursor)).all()
            return Marks(rows[-1][1] if rows else since, [row[0] for row in rows])

        return self._database.run(read)

    def unmark(self, kind: str, ids: Sequence[str]) -> None:
        """Remove marks."""
        marks = _table("marks")
        gone = marks.delete().where(marks.c.kind == kind, marks.c.id.in_(list(ids)))
        self._database.run(lambda connection: connection.execute(gone).rowcount)

    # -- counts ------------------------------------------------------------------------------------------------------

    def count(self, key: str, member: str, *, expires: float) -> int:
        """Add a member and count."""
        from sqlalchemy import select

        counted = _table("counted")

        def decide(row: _Row) -> int:
            if row.is_free and row.value:
                row.connection.execute(counted.delete().where(counted.c.key == key))
                row.value = 0
            known = select(counted.c.member).where(counted.c.key == key, counted.c.member == member)
            if row.connection.execute(known).first() is None:
                row.connection.execute(counted.insert().values(key=key, member=member))
                row.value += 1
            row.set(value=row.value, expires_at=row.now + _microseconds(expires))
            return row.value

        return self._with_row("count", key, decide)

    def close(self) -> None:
        """Close this process's connections."""
        self._database.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _with_row(self, kind: str, key: str, decide: Callable[[_Row], T]) -> T:
        self._purge()
        return self._database.run(lambda connection: decide(_Row(connection, self._database, kind, key)))

    def _purge(self) -> None:
        """Remove what has expired, every minute."""
        if time.monotonic() < self._purge_at:
            return
        self._purge_at = time.monotonic() + _PURGE_SECONDS
        self._database.run(lambda connection: _remove_expired(connection, self._database.now(connection)))


class _Row:
    """One row, made if it is missing and locked until the transaction ends."""

    def __init__(self, connection: Connection, database: Database, kind: str, key: str) -> None:
        from sqlalchemy import select

        keys = _table("keys")
        self.connection = connection
        self._where = (keys.c.kind == kind, keys.c.key == key)
        missing = {"kind": kind, "key": key, "holder": "", "value": 0, "expires_at": 0}
        connection.execute(database.insert_if_missing(keys).values(missing))
        locked = select(keys.c.holder, keys.c.value, keys.c.expires_at).where(*self._where).with_for_update()
        self.holder: str
        self.value: int
        self.expires_at: int
        self.holder, self.value, self.expires_at = connection.execute(locked).one()
        self.now = database.now(connection)

    @property
    def is_free(self) -> bool:
        return self.expires_at <= self.now

    def set(self, **values: Any) -> None:
        self.connection.execute(_table("keys").update().where(*self._where).values(values))
        for name, value in values.items():
            setattr(self, name, value)


def _renew(row: _Row, holder: str, expires_at: int) -> bool:
    if row.is_free or row.holder != holder:
        return False
    row.set(expires_at=expires_at)
    return True


def _remove_expired(connection: Connection, now: int) -> None:
    from sqlalchemy import select

    keys, counted = _table("keys"), _table("counted")
    over = keys.c.expires_at <= now
    counts = select(keys.c.key).where(keys.c.kind == "count", over)
    connection.execute(counted.delete().where(counted.c.key.in_(counts)))
    connection.execute(keys.delete().where(over))


def _microseconds(seconds: float) -> int:
    return min(max(int(seconds * 1e6), 1), _LONGEST_MICROSECONDS)
