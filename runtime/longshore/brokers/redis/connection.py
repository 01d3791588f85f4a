"""One connection that speaks RESP2, with a deadline on every step.

Written here because the redis package takes 0.4 s to import and 2 µs to read each element; this takes 3 ms and a third.
Knows bytes, replies and deadlines (of `time.monotonic`); knows nothing of queues. What failed before any byte of the
request had left is `ConnectFailed`, afterwards `ConnectionBroken`: only the caller knows what that means for its work.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any

from longshore.brokers.redis.address import Address
from longshore.brokers.redis.dialing import dial_file, greeting

Reply = Any
Argument = bytes | str | int | float

_CHUNK = 1 << 17
_ARRAY, _BULK, _INTEGER, _ERROR = b"*$:-"
_REFUSALS = ("WRONGPASS", "NOAUTH", "NOPERM", "ERR")
"""What a greeting may be answered with for good; LOADING or a full client list pass."""


class ReplyError(Exception):
    """The server's own error; the first word is its kind."""


class ConnectFailed(Exception):
    """No connection; nothing was sent. `final` when another attempt makes no sense."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class ConnectionBroken(Exception):
    """The connection ended, or the deadline passed, after bytes had left: the server may have acted on them."""


def pack(*arguments: Argument) -> bytes:
    """Return one command as RESP bytes."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Connection:
    """A socket, its buffer and where in it the reader stands. Used by one thread at a time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._poll = select.poll()
        self._buffer = b""
        self._position = 0
        self._deadline = 0.0

    # -- life --------------------------------------------------------------------------------------------------------

    def open(self, deadline: float) -> None:
        """Connect and greet; afterwards the connection is in its database, with its rights."""
        self.close()
        self._deadline = deadline
        self._socket = self._connect()
        self._poll = select.poll()
        self._poll.register(self._socket.fileno(), select.POLLIN)
        self._buffer, self._position = b"", 0
        try:
            self._greet()
        except ConnectionBroken as error:
            self.close()
            raise ConnectFailed(str(error)) from error
        except ConnectFailed:
            self.close()
            raise

    def _connect(self) -> socket.socket:
        shown = self._address.shown
        host, port = self._where()
        try:
            plain = self._dial(host, port)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except TimeoutError as error:
            raise ConnectFailed(f"Redis at {shown} did not answer in time") from error
        except socket.gaierror as error:
            raise ConnectFailed(f"Redis at {shown}: no such host as {host!r}", final=True) from error
        except OSError as error:
            raise ConnectFailed(f"Redis at {shown} cannot be reached: {error.strerror or error}") from error
        if self._address.tls is not None:
            return self._secure(plain, host)
        plain.setblocking(False)
        return plain

    def _where(self) -> tuple[str, int]:
        """Return host and port, which may be others at each opening."""
        if self._address.sentinels or self._address.pinned is not None:
            from longshore.brokers.redis.topology import located

            return located(self._address, self._deadline)
        return self._address.host, self._address.port

    def _dial(self, host: str, port: int) -> socket.socket:
        if self._address.path is not None:
            return dial_file(self._address.path, self._remaining())
        plain = socket.create_connection((host, port), timeout=self._remaining())
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain

    def _secure(self, plain: socket.socket, host: str) -> socket.socket:
        import ssl

        address = self._address
        assert address.tls is not None
        try:
            return address.tls.context().wrap_socket(plain, server_hostname=host)
        except (ssl.SSLError, OSError) as error:
            plain.close()
            final = isinstance(error, ssl.SSLError | FileNotFoundError | PermissionError)
            raise ConnectFailed(f"Redis at {address.shown}: TLS failed: {error}", final=final) from error

    def _greet(self) -> None:
        for reply in self.call(greeting(self._address), self._deadline):
            if isinstance(reply, ReplyError):
                self._explain_refusal(str(reply))
            if isinstance(reply, list) and reply[0] != b"master":
                raise ConnectFailed(f"Redis at {self._address.shown}: the primary is not one any more")

    def _explain_refusal(self, text: str) -> None:
        kind = text.partition(" ")[0]
        advice = "check user name and password" if kind in {"WRONGPASS", "NOAUTH"} or "AUTH" in text else text
        raise ConnectFailed(
            f"Redis at {self._address.shown} refuses the connection: {advice}",
            final=kind in _REFUSALS and "max number of clients" not in text,
        )

    def close(self) -> None:
        """Close; harmless when it is closed."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __del__(self) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether there is a socket; the other side may have gone all the same."""
        return self._socket is not None

    def fileno(self) -> int:
        """For `select`; only while it is open."""
        assert self._socket is not None
        return self._socket.fileno()

    def has_input(self) -> bool:
        """Whether there is something to read, be it the end."""
        return self.await_input(monotonic())

    def drop_stale(self) -> None:
        """Close an idle connection on which something arrived that nobody asked for: usually it is its end."""
        if self._socket is not None and self.has_input():
            self.close()

    def await_input(self, deadline: float) -> bool:
        """Wait until there is something to read; return whether there is."""
        if self._socket is None or self._position < len(self._buffer) or self._has_decrypted():
            return True
        return bool(self._poll.poll(max(deadline - monotonic(), 0.0) * 1000))

    def _has_decrypted(self) -> bool:
        return self._address.tls is not None and self._socket.pending() > 0  # type: ignore[union-attr]

    # -- requests ----------------------------------------------------------------------------------------------------

    def call(self, commands: Iterable[Sequence[Argument]], deadline: float) -> list[Reply]:
        """Send commands together and return their replies, errors among them."""
        packed = [pack(*command) for command in commands]
        return self.exchange(b"".join(packed), len(packed), deadline)

    def exchange(self, data: bytes, replies: int, deadline: float) -> list[Reply]:
        """Send what is packed and read this many replies."""
        self.send(data, deadline)
        return [self.receive(deadline) for _ in range(replies)]

    def send(self, data: bytes, deadline: float) -> None:
        """Send bytes; a failure closes the connection."""
        assert self._socket is not None
        self._deadline = deadline
        try:
            if self._address.tls is None:
                self._send_plain(self._socket, data)
            else:
                self._socket.settimeout(self._remaining())
                self._socket.sendall(data)
        except OSError as error:
            raise self._broken(error) from error

    def _send_plain(self, plain: socket.socket, data: bytes | memoryview) -> None:
        """Almost always one system call; Python's own time-outs take three."""
        while True:
            try:
                sent = plain.send(data)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
            writable = select.poll()
            writable.register(plain.fileno(), select.POLLOUT)
            if not writable.poll(self._remaining() * 1000):
                raise TimeoutError

    def receive(self, deadline: float) -> Reply:
        """Read one reply; a failure closes the connection."""
        self._deadline = deadline
        try:
            return self._read()
        except OSError as error:
            raise self._broken(error) from error

    def _broken(self, error: OSError) -> ConnectionBroken:
        self.close()
        if isinstance(error, TimeoutError):
            return ConnectionBroken(f"Redis at {self._address.shown} did not answer in time")
        return ConnectionBroken(f"the connection to Redis at {self._address.shown} broke: {error.strerror or error}")

    def _remaining(self) -> float:
        return max(self._deadline - monotonic(), 0.001)

    # -- reading -----------------------------------------------------------------------------------------------------

    def _read(self) -> Reply:
        line = self._line()
        kind = line[0]
        if kind == _BULK:
            size = int(line[1:])
            return None if size < 0 else self._exactly(size)
        if kind == _ARRAY:
            size = int(line[1:])
            return None if size < 0 else [self._read() for _ in range(size)]
        if kind == _INTEGER:
            return int(line[1:])
        text = line[1:].decode(errors="replace")
        return ReplyError(text) if kind == _ERROR else text

    def _line(self) -> bytes:
        while True:
            end = self._buffer.find(b"\r\n", self._position)
            if end >= 0:
                line = self._buffer[self._position : end]
                self._position = end + 2
                return line
            self._buffer = self._buffer[self._position :] + self._receive_some()
            self._position = 0

    def _exactly(self, size: int) -> bytes:
        end = self._position + size
        if end + 2 > len(self._buffer):
            self._fetch(size + 2)
            end = size
        data = self._buffer[self._position : end]
        self._position = end + 2
        return data

    def _fetch(self, size: int) -> None:
        parts = [self._buffer[self._position :]]
        missing = size - len(parts[0])
        while missing > 0:
            parts.append(self._receive_some())
            missing -= len(parts[-1])
        self._buffer, self._position = b"".join(parts), 0

    def _receive_some(self) -> bytes:
        assert self._socket is not None
        if self._address.tls is not None:
            self._socket.settimeout(self._remaining())
        elif not self._poll.poll(self._remaining() * 1000):
            raise TimeoutError
        data = self._socket.recv(_CHUNK)  # nobody else reads: what the poll has seen is there
        if not data:
            raise ConnectionResetError("the server closed it")
        return data
