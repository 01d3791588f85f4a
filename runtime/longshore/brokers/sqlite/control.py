"""Remote control on one host: datagram sockets in the database's companion folder, and no byte in the database.

Whoever listens has a socket there, named by what it listens to; whoever publishes sends to each that is there. A socket
that nobody reads any more is removed by the first who finds that out. Celery has no part in this: the bodies are the
same, the way is our own.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from longshore.brokers.control import EVERYTHING, Event, Mail, Names, Waiting, decode, encode, waiting_for
from longshore.brokers.sqlite.address import parse_address
from longshore.brokers.sqlite.codec import decode_message
from longshore.brokers.sqlite.database import Database
from longshore.brokers.sqlite.files import check_place, run_folder
from longshore.exceptions import BrokerRefused, BrokerUnavailable
from longshore.message import Message

_COMMANDS, _REPLIES, _EVENTS = "command", "reply", "event"
_LARGEST = 100_000
"""A datagram of the kernel's default size holds this; a larger body goes by a file beside the sockets."""
_BUFFER = 1 << 20
_AT_ONCE = 1000


class SQLiteLine:
    """The port's `ControlLine`."""

    def __init__(self, url: str, names: Names) -> None:
        self._address = parse_address(url)
        self._names = names
        self._database: Database | None = None
        self._folder: Path | None = None
        self._ears: socket.socket | None = None
        self._path: Path | None = None

    # -- listening ---------------------------------------------------------------------------------------------------

    def hear_commands(self, node: str) -> None:  # noqa: ARG002 - every node hears everything
        """Have a socket for commands."""
        self._listen(f"{_COMMANDS}.{uuid.uuid4().hex}")

    def hear_replies(self, inbox: str) -> None:
        """Have a socket under our address."""
        self._listen(f"{_REPLIES}.{inbox}")

    def hear_events(self, listener: str, topic: str = EVERYTHING) -> None:
        """Have a socket for events."""
        if topic != EVERYTHING:
            raise BrokerRefused("SQLite delivers every event to every listener; choose by type there")
        self._listen(f"{_EVENTS}.{listener}")

    def receive(self, wait: float, wake_fd: int | None = None) -> list[Mail]:
        """Return what was sent to us."""
        if self._ears is None:
            raise BrokerUnavailable("this line listens to nothing")
        poll = select.poll()
        for descriptor in (self._ears.fileno(), *((wake_fd,) if wake_fd is not None else ())):
            poll.register(descriptor, select.POLLIN)
        poll.poll(max(wait, 0.0) * 1000)
        return list(self._arrived(self._ears))

    def _arrived(self, ears: socket.socket) -> Iterator[Mail]:
        for _ in range(_AT_ONCE):
            try:
                data = ears.recv(_BUFFER)
            except BlockingIOError:
                return
            letter = decode(_unspooled(self._place(), data))
            if isinstance(letter, list) and len(letter) == 2:  # noqa: PLR2004 - headers and body
                yield Mail(letter[1], letter[0])

    def _listen(self, name: str) -> None:
        if self._ears is not None:
            return
        folder = self._place()
        self._ears = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._ears.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._path = folder / f"control.{name}"
        try:
            with _reachable(folder) as base:
                self._ears.bind(f"{base}/{self._path.name}")
        except OSError as error:
            raise BrokerRefused(f"no sockets in {folder}: {error.strerror}; remote control is off") from None

    # -- publishing --------------------------------------------------------------------------------------------------

    def command(self, body: Mapping[str, Any], headers: Mapping[str, Any]) -> None:
        """Send to every node."""
        self._send(f"control.{_COMMANDS}.*", body, headers)

    def reply(self, exchange: str, inbox: str, body: Any, headers: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Send to the address."""
        if inbox.replace("-", "").isalnum():
            self._send(f"control.{_REPLIES}.{inbox}", body, headers)

    def publish(self, events: Sequence[Event]) -> None:
        """Send to every listener; what its socket cannot take is dropped."""
        for event in events:
            self._send(f"control.{_EVENTS}.*", event.body, event.headers)

    def _send(self, pattern: str, body: Any, headers: Mapping[str, Any]) -> None:
        folder = self._place()
        targets = list(folder.glob(pattern))
        if not targets:
            return
        data = encode([headers, body])
        with _reachable(folder) as base, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
            mouth.setblocking(False)
            for target in targets:
                _post(mouth, base, target, data)

    # -- looking -----------------------------------------------------------------------------------------------------

    def held(self, worker: str, queues: Sequence[str]) -> list[tuple[str, Message]] | None:
        """Read the claims of a worker's processes."""
        select = """SELECT queues.name, messages.body FROM messages JOIN owners ON messages.owner = owners.id
        JOIN queues ON queues.id = messages.queue WHERE owners.worker = ? LIMIT ?"""
        rows = self._read(select, (worker, _AT_ONCE))
        return [(name, decode_message(body)) for name, body in rows if name in queues]

    def delayed(self, queues: Sequence[str], limit: int, *, behind: bool = False) -> list[Waiting]:  # noqa: ARG002 - looking costs nothing here
        """Read the delayed messages, and those with an ETA that no worker has moved there yet."""
        select = """SELECT messages.due_at, queues.name, messages.body FROM messages JOIN queues
        ON queues.id = messages.queue WHERE queues.name = ? AND messages.due_at > 0 ORDER BY messages.due_at LIMIT ?"""
        found = []
        for queue in queues:
            rows = self._read(select, (queue, limit))
            found += [Waiting(due / 1000, name, decode_message(body)) for due, name, body in rows]
            found += self._unsorted(queue, limit)
        return sorted(found, key=lambda each: each.due_at)[:limit]

    def _unsorted(self, queue: str, limit: int) -> list[Waiting]:
        select = """SELECT messages.body FROM messages JOIN queues ON queues.id = messages.queue
        WHERE queues.name = ? AND owner <= 0 AND due_at = 0 ORDER BY rank, messages.id LIMIT ?"""
        bodies = [decode_message(row[0]) for row in self._read(select, (queue, limit))]
        return [waiting for message in bodies if (waiting := waiting_for(queue, message))]

    def _read(self, select: str, arguments: tuple[object, ...]) -> list[Any]:
        if self._database is None:
            self._database = Database(self._address)

        def work(connection: sqlite3.Connection) -> list[Any]:
            return connection.execute(select, arguments).fetchall()

        return self._database.read(work)

    # -- life --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Remove our socket."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self.abandon()
        if self._database is not None:
            self._database.close()
            self._database = None

    def abandon(self) -> None:
        """Close our copy; the parent's socket stays where it is."""
        if self._ears is not None:
            self._ears.close()
        self._ears = self._path = None

    def _place(self) -> Path:
        if self._folder is None:
            check_place(self._address.path)
            self._folder = run_folder(self._address.path)
        return self._folder


def open_line(url: str, names: Names) -> SQLiteLine:
    """Return a line; nothing is opened yet."""
    return SQLiteLine(url, names)


@contextlib.contextmanager
def _reachable(folder: Path) -> Iterator[str]:
    """A socket's name holds 107 bytes: where the kernel shows descriptors as paths, any folder is short enough."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = f"/proc/self/fd/{descriptor}"
        yield short if os.path.isdir(short) else str(folder)  # noqa: PTH112 - a link of the kernel's
    finally:
        os.close(descriptor)


def _post(mouth: socket.socket, base: str, target: Path, data: bytes) -> None:
    """Send to one listener. One whose process is gone is removed; one that does not read misses it."""
    spool = _spooled(target.parent, data) if len(data) > _LARGEST else None
    try:
        mouth.sendto(spool.name.encode() if spool else data, f"{base}/{target.name}")
        return
    except ConnectionRefusedError:
        target.unlink(missing_ok=True)
    except OSError:
        pass
    if spool is not None:
        spool.unlink(missing_ok=True)


def _spooled(folder: Path, data: bytes) -> Path:
    path = folder / f"mail.{uuid.uuid4().hex}"
    path.write_bytes(data)
    return path


def _unspooled(folder: Path, data: bytes) -> bytes:
    """A datagram that is no JSON list names the file that holds the body."""
    if not data.startswith(b"mail."):
        return data
    path = folder / Path(data.decode(errors="replace")).name
    try:
        return path.read_bytes()
    except OSError:
        return b""
    finally:
        path.unlink(missing_ok=True)
