"""A database as results and stores see it: SQLAlchemy behind transactions with a deadline, retries and errors of ours.

SQLAlchemy is an extra (``longshore[sql]``) and imported with the first call. Addresses are Celery's: SQLAlchemy's with
``db+`` before them. Knows no table's meaning.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from longshore.exceptions import BackendError, ImproperlyConfigured, redact_url

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, Table
    from sqlalchemy.engine import URL

T = TypeVar("T")

DEADLINE_SECONDS = 5
_TRIES = 5
_FIRST_PAUSE = 0.02


class Database:
    """Transactions on one address from any thread; opens lazily, anew after a fork."""

    def __init__(self, url: str, metadata: Callable[[], MetaData]) -> None:
        self.url = url
        self._address = _address(url)
        self._metadata = metadata
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pid = 0

    @property
    def dialect(self) -> str:
        """``postgresql``, ``mysql`` (also of MariaDB) or ``sqlite``."""
        name = self._open().dialect.name
        return "mysql" if name == "mariadb" else name

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction; again, when it met another one or a connection that had gone away."""
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        for tries in range(1, _TRIES + 1):
            try:
                with self._open().begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if tries == _TRIES or not _is_passing(error):
                    raise self._explained(error) from error
                time.sleep(_FIRST_PAUSE * tries)
            except SQLAlchemyError as error:
                raise self._explained(error) from error
        raise AssertionError  # the last try returns or raises

    def columns(self, table: str) -> frozenset[str]:
        """Return the columns that a table has there: another program may have made it."""
        from sqlalchemy import inspect

        return self.run(lambda connection: frozenset(each["name"] for each in inspect(connection).get_columns(table)))

    def now(self, connection: Connection) -> int:
        """Return the server's time in microseconds since the epoch."""
        question = _CLOCKS.get(self.dialect)
        if question is None:
            return time.time_ns() // 1000
        return int(connection.exec_driver_sql(question).scalar_one())

    def insert_if_missing(self, table: Table) -> Any:
        """Return an insert that leaves a row alone whose key is there."""
        if self.dialect == "mysql":
            return table.insert().prefix_with("IGNORE")
        if self.dialect == "postgresql":
            from sqlalchemy.dialects.postgresql import insert as postgresql_insert

            return postgresql_insert(table).on_conflict_do_nothing()
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(table).on_conflict_do_nothing()

    def close(self) -> None:
        """Close the connections of this process."""
        with self._lock:
            engine, self._engine = self._engine, None
            if engine is not None:
                engine.dispose(close=self._pid == os.getpid())

    def _open(self) -> Engine:
        with self._lock:
            if self._engine is None or self._pid != os.getpid():
                if self._engine is not None:
                    self._engine.dispose(close=False)  # the parent's connections are the parent's
                self._engine = self._made()
                self._pid = os.getpid()
            return self._engine

    def _made(self) -> Engine:
        from sqlalchemy.exc import SQLAlchemyError

        engine = _engine(self._address)
        for tries in range(1, _TRIES + 1):
            try:
                self._metadata().create_all(engine)
                return engine
            except SQLAlchemyError as error:  # another process may be making the same tables
                if tries == _TRIES or _is_unreachable(error):
                    engine.dispose()
                    raise self._explained(error) from error
                time.sleep(_FIRST_PAUSE * tries)
        return engine

    def _explained(self, error: Exception) -> BackendError:
        cause = getattr(error, "orig", None) or error
        text = " ".join(str(cause).split())[:300]
        password = self._address.password
        if password:
            text = text.replace(str(password), "***")
        return BackendError(f"database {redact_url(self.url)}: {text or type(cause).__name__}")


_CLOCKS = {
    "postgresql": "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
    "mysql": "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
}


def _address(url: str) -> URL:
    try:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError:
        raise ImproperlyConfigured(
            f"{redact_url(url)} needs SQLAlchemy: pip install 'longshore[sql]', and the driver of your database"
        ) from None
    try:
        return make_url(url.removeprefix("db+"))
    except ArgumentError:
        raise ImproperlyConfigured(
            f"{redact_url(url)!r} is no database address; write db+postgresql://user:password@host/name, "
            "db+mysql+pymysql://… or db+sqlite:////absolute/path.db"
        ) from None


def _engine(address: URL) -> Engine:
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    name = address.get_backend_name()
    shown = address.render_as_string(hide_password=True)
    options: dict[str, Any] = {} if name == "sqlite" else {"isolation_level": "READ COMMITTED", "pool_recycle": 1800}
    try:
        engine = create_engine(address, connect_args=_connect_arguments(name), pool_timeout=DEADLINE_SECONDS, **options)
    except ImportError as error:
        raise ImproperlyConfigured(f"the driver of {shown} is not installed: {error}") from None
    except (ArgumentError, NoSuchModuleError) as error:
        raise ImproperlyConfigured(f"{shown}: {error}") from None
    if name == "sqlite":
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin_writing)
    return engine


def _connect_arguments(name: str) -> dict[str, Any]:
    """Deadlines: a server that is gone, or a network that swallows everything, must not hold a worker."""
    if name == "postgresql":
        milliseconds = DEADLINE_SECONDS * 1000
        statements = f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
        return {"connect_timeout": DEADLINE_SECONDS, "tcp_user_timeout": milliseconds, "options": statements}
    if name in {"mysql", "mariadb"}:
        return dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), DEADLINE_SECONDS)
    return {"timeout": DEADLINE_SECONDS}


def _leave_transactions_to_us(connection: Any, _record: object) -> None:
    connection.isolation_level = None


def _begin_writing(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


_PASSING_STATES = frozenset({"40001", "40P01", "55P03"})
"""PostgreSQL's serialization failure, deadlock, lock not available."""
_PASSING_NUMBERS = frozenset({1205, 1213, 2006, 2013})
"""MySQL's lock wait time-out, deadlock, server gone away, lost connection."""


def _is_passing(error: Any) -> bool:
    if error.connection_invalidated:
        return True
    cause = error.orig
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    number = cause.args[0] if getattr(cause, "args", None) else None
    return state in _PASSING_STATES or number in _PASSING_NUMBERS or "database is locked" in str(cause)


def _is_unreachable(error: Exception) -> bool:
    from sqlalchemy.exc import OperationalError

    return isinstance(error, OperationalError) and not _is_passing(error)
