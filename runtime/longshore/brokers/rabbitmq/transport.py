"""A socket, plain or TLS, with deadlines: nothing here ever waits longer than it is told.

It knows bytes and time, not AMQP. One thread reads; any thread may write a whole piece under the write lock. The short
lock around each system call is for TLS, whose sessions must not be read and written at the same moment.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from threading import Lock

from longshore.brokers.rabbitmq.address import Address
from longshore.brokers.rabbitmq.errors import ConnectionLost
from longshore.exceptions import BrokerRefused, BrokerUnavailable

READ_BYTES = 262_144
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR
_WOULD_BLOCK = (BlockingIOError, InterruptedError)


class Transport:
    """One connected, non-blocking socket."""

    def __init__(self, connected: socket.socket, label: str, *, secure: bool = False) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._label = label
        self._secure = secure
        self._would_block = _would_block(secure=secure)
        self._write_lock = Lock()
        self._call_lock = Lock()
        self._broken: str | None = None

    @classmethod
    def connect(cls, address: Address, deadline: float) -> Transport:
        """Connect, and shake hands where TLS is wanted; raise `BrokerUnavailable` by the deadline (monotonic)."""
        try:
            plain = socket.create_connection((address.host, address.port), timeout=_remaining(deadline))
        except OSError as error:
            raise BrokerUnavailable(f"cannot reach RabbitMQ at {address.label}: {_reason(error)}") from None
        try:
            _keep_alive(plain)
            secure = address.tls is not None
            connected = _secured(plain, address, deadline) if secure else plain
            return cls(connected, address.label, secure=secure)
        except BaseException:
            plain.close()
            raise

    def fileno(self) -> int:
        """The descriptor, for a poll."""
        return self._socket.fileno()

    def write(self, data: bytes, deadline: float, on_readable: Callable[[], object] | None = None) -> None:
        """Write all of `data`. While the broker takes nothing, `on_readable` handles what it says meanwhile."""
        with self._write_lock:
            self._check()
            view = memoryview(data)
            while view:
                sent = self._send(view)
                view = view[sent:]
                if view and not sent:
                    self._await_writable(deadline, partly=len(view) < len(data), on_readable=on_readable)

    def write_if_idle(self, data: bytes) -> None:
        """Write a few bytes if nobody else is writing and the socket takes them; errors show at the next read."""
        if not self._write_lock.acquire(blocking=False):
            return
        try:
            if self._broken is None and 0 < self._send(memoryview(data)) < len(data):
                self._broken = f"the connection to RabbitMQ at {self._label} is stuck"
        except ConnectionLost as error:
            self._broken = str(error)
        finally:
            self._write_lock.release()

    def read(self) -> bytes:
        """Return what has arrived, nothing if nothing has."""
        self._check()
        first = self._receive()
        if not self._secure or not first:
            return first
        pieces = [first]
        while piece := self._receive():
            pieces.append(piece)
        return b"".join(pieces)

    def wait(self, timeout: float, wake_fd: int | None = None) -> bool:
        """Wait until something arrives (`True`), or `wake_fd` becomes readable or the time is over (`False`)."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if wake_fd is not None:
            poll.register(wake_fd, select.POLLIN)
        ready = poll.poll(max(timeout, 0) * 1000)
        return any(descriptor != wake_fd for descriptor, _ in ready)

    def close(self) -> None:
        """Close our descriptor; a copy in a forked process goes on."""
        with self._call_lock:
            self._broken = self._broken or f"the connection to RabbitMQ at {self._label} is closed"
            self._socket.close()

    def abandon(self) -> None:
        """Close our descriptor in a forked child, where a lock may be held by a thread that is not there."""
        self._broken = f"the connection to RabbitMQ at {self._label} belongs to another process"
        self._socket.close()

    def _check(self) -> None:
        if self._broken is not None:
            raise ConnectionLost(self._broken)

    def _send(self, view: memoryview) -> int:
        try:
            with self._call_lock:
                return self._socket.send(view)
        except self._would_block:
            return 0
        except (OSError, ValueError) as error:
            raise self._lost(_reason(error)) from None

    def _receive(self) -> bytes:
        try:
            with self._call_lock:
                data = self._socket.recv(READ_BYTES)
        except self._would_block:
            return b""
        except (OSError, ValueError) as error:
            raise self._lost(_reason(error)) from None
        if not data:
            raise self._lost("closed by the broker")
        return data

    def _await_writable(self, deadline: float, *, partly: bool, on_readable: Callable[[], object] | None) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            reason = f"RabbitMQ at {self._label} took no more bytes in time"
            self._broken = reason if partly else None
            raise ConnectionLost(reason)
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT | (select.POLLIN if on_readable else 0))
        events = poll.poll(left * 1000)
        if on_readable and any(event & _READABLE for _, event in events):
            on_readable()

    def _lost(self, reason: str) -> ConnectionLost:
        self._broken = f"the connection to RabbitMQ at {self._label} broke: {reason}"
        return ConnectionLost(self._broken)


def _remaining(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)


def _keep_alive(connected: socket.socket) -> None:
    """Send at once, and notice a peer that is gone without a word while nothing is being sent."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _would_block(*, secure: bool) -> tuple[type[OSError], ...]:
    """What a socket raises that has nothing now; the TLS module is loaded for those who need it."""
    if not secure:
        return _WOULD_BLOCK
    import ssl

    return (*_WOULD_BLOCK, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def _secured(plain: socket.socket, address: Address, deadline: float) -> socket.socket:
    import ssl

    plain.settimeout(_remaining(deadline))
    try:
        return address.tls_context().wrap_socket(plain, server_hostname=address.server_name)
    except ssl.SSLCertVerificationError as error:
        raise BrokerRefused(
            f"the certificate of RabbitMQ at {address.label} is refused: {error.verify_message}"
        ) from None
    except OSError as error:
        raise BrokerUnavailable(f"no TLS with RabbitMQ at {address.label}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:]
