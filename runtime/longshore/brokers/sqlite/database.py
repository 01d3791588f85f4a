"""One connection to the file, shared by the threads of a process: opened lazily, anew after a fork, every write through
the gate and with a deadline, every failure an error of ours.

The broker, the results and the store of one file each have such a connection. Knows no table's meaning.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from longshore.brokers.sqlite.address import Address
from longshore.brokers.sqlite.bells import Ringer, queue_bell
from longshore.brokers.sqlite.errors import explain, explain_os, full
from longshore.brokers.sqlite.files import RESERVE_BYTES, Reserve, check_place, run_folder
from longshore.brokers.sqlite.gate import Gate
from longshore.brokers.sqlite.layout import PAGE_BYTES, prepare
from longshore.brokers.sqlite.liveness import LifeFile, open_life_file
from longshore.exceptions import BrokerFull, BrokerUnavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

WAL_LIMIT_BYTES = 64 << 20
_RESERVE_CHECK_SECONDS = 0.02
_FORK_PATIENCE_SECONDS = 1.0


class Database:
    """The connection. `read` and `write` open it when needed; `write` holds the gate and a transaction."""

    def __init__(self, address: Address) -> None:
        self.path = address.path
        self.timeout = address.timeout
        self._durability = address.durability
        self._reserve_checked = 0.0
        self._opened = self._inode = self._writes = 0
        self._forget()
        _DATABASES.add(self)

    # What is open, or nothing: set together by `_open_locked`.
    connection: sqlite3.Connection | None = None
    folder: Path
    ringer: Ringer
    life: LifeFile
    _gate: Gate
    _reserve: Reserve

    def write(self, work: Work[T], *, timeout: float | None = None, puts: bool = False) -> T:
        """Run `work` in a transaction behind the gate.

        `puts` is said of work that adds messages: it is refused while the disk is full, the rest may use the reserve.
        """
        timeout = self.timeout if timeout is None else timeout
        try:
            return self._write(work, timeout, puts)
        except BrokerFull:
            if puts:
                raise
        self._make_room()
        return self._write(work, timeout, puts)

    def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads, on one snapshot; it needs no gate and waits for no writer."""
        with self._locked(self.timeout) as connection:
            try:
                connection.execute("BEGIN")
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException as error:
                self._roll_back(connection, error)
                raise
            return result

    def peek(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        """Run one reading statement."""
        with self._locked(self.timeout) as connection:
            try:
                return connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise explain(error, self.path) from error

    def ring(self, bells: Iterable[object]) -> None:
        """Ring these bells; whoever just wrote has the file open."""
        if self.connection is not None:
            self.ringer.ring(bells)

    def ring_queues(self, numbers: Iterable[int]) -> None:
        """Wake who waits for these queues."""
        self.ring({queue_bell(number) for number in numbers})

    def version(self) -> tuple[int, int, int]:
        """Return what changes with every write. SQLite's own number tells of other connections alone."""
        number = self.peek("PRAGMA data_version")[0][0]
        return self._opened, int(str(number)), self._writes

    def ensure_open(self) -> None:
        """Open the file, so that `folder`, `ringer` and `life` are there."""
        with self._locked(self.timeout):
            pass

    def maintain(self) -> None:
        """Keep the log and the reserve in shape; called about every second by somebody."""
        self.ensure_open()
        self._check_identity()
        self._reserve.ensure()
        with contextlib.suppress(FileNotFoundError):
            if Path(f"{self.path}-wal").stat().st_size > WAL_LIMIT_BYTES:
                self._truncate_log()

    def close(self) -> None:
        """Close the connection of this process; closing twice is harmless, the next call opens it again."""
        if self._pid != os.getpid():
            self._forget()
        with self._lock:
            self._close_locked()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _write(self, work: Work[T], timeout: float, puts: bool) -> T:
        with self._locked(timeout) as connection:
            if puts:
                self._check_file()
            gate = self._gate
            gate.acquire(timeout)
            try:
                connection.execute("BEGIN IMMEDIATE")
                result = work(connection)
                connection.execute("COMMIT")
                self._writes += 1
            except BaseException as error:
                self._roll_back(connection, error)
                raise
            finally:
                gate.release()
            return result

    def _truncate_log(self) -> None:
        """Write everything into the database itself and give the log's room back; as far as that goes."""
        with self._locked(self.timeout) as connection:
            self._gate.acquire(self.timeout)
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as error:
                raise explain(error, self.path) from error
            finally:
                self._gate.release()

    def _roll_back(self, connection: sqlite3.Connection, error: BaseException) -> None:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
            raise explain(error, self.path) from error

    def _check_file(self) -> None:
        """Now and then before a send: the file is still there, and so is its reserve.

        Without its reserve the disk is full: whoever sends now would eat what workers need to drain.

        The log may hold the room that is missing; and a database that was drained has free pages of its own.
        """
        now = time.monotonic()
        if now - self._reserve_checked > _RESERVE_CHECK_SECONDS:
            self._check_identity()
            if not self._reserve.ensure():
                self._truncate_log()
                if not self._reserve.ensure() and not self._has_free_pages():
                    raise full(self.path)
            self._reserve_checked = now

    def _has_free_pages(self) -> bool:
        """Whether the database has as much room inside as the reserve would give outside."""
        return int(str(self.peek("PRAGMA freelist_count")[0][0])) >= RESERVE_BYTES // PAGE_BYTES

    def _check_identity(self) -> None:
        """Raise when somebody removed the file or put another one in its place: nobody will read what goes to ours."""
        with contextlib.suppress(FileNotFoundError):
            if Path(self.path).stat().st_ino == self._inode:
                return
        raise BrokerUnavailable(f"{self.path} was removed or replaced while it was in use; restart what uses it")

    def _make_room(self) -> None:
        """Spend the reserve, and have the log written into the database, so that both can be used again."""
        self._reserve.spend()
        self._reserve_checked = 0.0
        with contextlib.suppress(BrokerFull):
            self._truncate_log()

    def _locked(self, timeout: float) -> _Locked:
        if self._pid != os.getpid():
            self._forget()
        return _Locked(self, timeout)

    def _open_locked(self, timeout: float) -> sqlite3.Connection:
        check_place(self.path)
        try:
            self.folder = run_folder(self.path)
            gate = self._gate = Gate(f"{self.folder}/gate")
            try:
                gate.acquire(timeout)
                connection = self._connect()
                gate.release()
                return connection
            except BaseException:
                gate.close()
                raise
        except OSError as error:
            raise explain_os(error, self.path) from error
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self.timeout, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            prepare(connection, self.path, self._durability)
        except BaseException:
            connection.close()
            raise
        self._reserve = Reserve(self.folder / "reserve")
        self._reserve.ensure()
        self.ringer = Ringer(self.folder)
        self.life = open_life_file(f"{self.folder}/owners")
        self.connection = connection
        self._inode = Path(self.path).stat().st_ino
        self._opened += 1
        return connection

    def _close_locked(self) -> None:
        connection, self.connection = self.connection, None
        if connection is None:
            return
        with contextlib.suppress(BrokerUnavailable):
            self._gate.acquire(self.timeout)
        connection.close()
        self._gate.close()
        self.ringer.close()

    def _forget(self) -> None:
        """Start afresh: at first, and in a forked child, which must not even close what its parent opened."""
        if self.connection is not None:
            _INHERITED.append(self.connection)
        self.connection = None
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._reserve_checked = 0.0

    def before_fork(self) -> None:
        """Close the connection if it idles: SQLite's must not even be closed on the other side of a fork."""
        if self._pid == os.getpid() and self._lock.acquire(timeout=_FORK_PATIENCE_SECONDS):
            try:
                if self.connection is not None and not self.connection.in_transaction:
                    self._close_locked()
            finally:
                self._lock.release()


class _Locked:
    """The lock and the open connection, for a `with`: a class, since a generator costs a microsecond more."""

    __slots__ = ("_database", "_timeout")

    def __init__(self, database: Database, timeout: float) -> None:
        self._database = database
        self._timeout = timeout

    def __enter__(self) -> sqlite3.Connection:
        database = self._database
        if not database._lock.acquire(timeout=self._timeout):  # noqa: SLF001
            raise BrokerUnavailable(f"another thread of this process has used {database.path} for {self._timeout:g} s")
        try:
            return database.connection or database._open_locked(self._timeout)  # noqa: SLF001
        except BaseException:
            database._lock.release()  # noqa: SLF001
            raise

    def __exit__(self, *_: object) -> None:
        self._database._lock.release()  # noqa: SLF001


_INHERITED: list[sqlite3.Connection] = []
"""Open while another thread forked: kept, so that the child's collector does not close them."""
_DATABASES: weakref.WeakSet[Database] = weakref.WeakSet()


def _before_fork() -> None:
    for database in list(_DATABASES):
        database.before_fork()


os.register_at_fork(before=_before_fork)
