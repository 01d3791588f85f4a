"""One AMQP connection: the handshake, its channels, and calls with a deadline.

It knows frames and methods, nothing of queues' meaning. Exactly one thread reads at a time (who that is, the owner
decides); heartbeats are written by another. Any deadline that passes while an answer is awaited ends the connection,
since what comes later could not be told apart.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from longshore.brokers.rabbitmq import frames, methods
from longshore.brokers.rabbitmq.address import Address
from longshore.brokers.rabbitmq.errors import ChannelClosed, ConnectionLost, plain, refused
from longshore.brokers.rabbitmq.frames import FrameError, FrameReader, Received
from longshore.brokers.rabbitmq.methods import Close, Tuning
from longshore.brokers.rabbitmq.tables import LONG, read_table
from longshore.brokers.rabbitmq.transport import Transport
from longshore.exceptions import BrokerError, BrokerRefused

Handler = Callable[[Received], None]

_CAPABILITIES = {
    "publisher_confirms": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
    "exchange_exchange_bindings": True,
    "per_consumer_qos": True,
}
_CHANNELS = 2047


class Channel:
    """One channel: answers are queued, what comes unasked goes to a handler."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.handlers: dict[int, Handler] = {}
        self.closed: Close | None = None
        self.closing: Callable[[Close], object] = bool
        """Told why the broker closes the channel, before that is confirmed: until then it keeps what is held here."""
        self._answers: deque[Received] = deque()

    def write(self, data: bytes, deadline: float) -> None:
        """Write frames of this channel."""
        if self.closed is not None:
            raise ChannelClosed(self.closed)
        self.connection.write(data, deadline)

    def call(self, frame: bytes, answer: int, deadline: float) -> bytes:
        """Write a method and return the arguments of its answer."""
        self.write(frame, deadline)
        return self.expect(answer, deadline).arguments

    def expect(self, answer: int, deadline: float) -> Received:
        """Return the next answer, which must be of this kind."""
        received = self.next_answer(deadline)
        if received.method != answer:
            raise self.connection.fail(f"answered {received.method:#x} where {answer:#x} was due")
        return received

    def next_answer(self, deadline: float) -> Received:
        """Return the next answer; raise `ChannelClosed` or `ConnectionLost`."""
        while not self._answers:
            if self.closed is not None:
                raise ChannelClosed(self.closed)
            self.connection.pump(deadline)
        return self._answers.popleft()

    def received(self, received: Received) -> None:
        """Take what the connection read for this channel and no handler wants."""
        if received.method == frames.CHANNEL_CLOSE:
            self.closed = methods.read_close(received.arguments)
            self.closing(self.closed)
            self.connection.channel_closed(self)
        else:
            self._answers.append(received)


class Connection:
    """An open connection to a vhost."""

    def __init__(self, address: Address, transport: Transport, heartbeat: int) -> None:
        self.address = address
        self.transport = transport
        self.heartbeat = heartbeat
        self.frame_max = frames.DEFAULT_FRAME_MAX
        self.version: tuple[int, ...] = ()
        self.blocked: str | None = None
        self.lost: ConnectionLost | None = None
        self.last_read = time.monotonic()
        self.pid = os.getpid()
        self._reader = FrameReader()
        self._control: deque[Received] = deque()
        self._channels: dict[int, Channel] = {}

    @classmethod
    def open(cls, address: Address, name: str, deadline: float, *, heartbeat: int = 0) -> Connection:
        """Connect and log in by the deadline (monotonic). `heartbeat` 0 leaves a silent peer to TCP."""
        deadline = min(deadline, time.monotonic() + address.connect_timeout)
        connection = cls(address, Transport.connect(address, deadline), heartbeat)
        try:
            connection._log_in(name, deadline)
        except ConnectionLost as error:
            connection.close_socket()
            if error.close is None:
                raise
            raise refused(address.label, address.user, address.vhost, error.close) from None
        except BaseException:
            connection.close_socket()
            raise
        return connection

    # -- channels ----------------------------------------------------------------------------------------------------

    def open_channel(self, deadline: float) -> Channel:
        """Open a channel and wait until it is there."""
        channel = self.begin_channel(deadline)
        channel.expect(frames.CHANNEL_OPEN_OK, deadline)
        return channel

    def begin_channel(self, deadline: float) -> Channel:
        """Ask for a channel without waiting; its first answer is `CHANNEL_OPEN_OK`."""
        number = next(n for n in range(1, _CHANNELS + 1) if n not in self._channels)
        channel = self._channels[number] = Channel(self, number)
        self.write(methods.open_channel(number), deadline)
        return channel

    def close_channel(self, channel: Channel, deadline: float) -> None:
        """Close a channel and wait until it is: what it held is back in its queues then."""
        if channel.closed is None:
            channel.handlers.clear()
            channel.write(methods.close_channel(channel.number), deadline)
            while channel.next_answer(deadline).method != frames.CHANNEL_CLOSE_OK:
                pass
            self._channels.pop(channel.number, None)

    def channel_closed(self, channel: Channel) -> None:
        """Confirm that the broker closed a channel."""
        self._channels.pop(channel.number, None)
        self.write(frames.method_frame(channel.number, frames.CHANNEL_CLOSE_OK), time.monotonic() + 1)

    # -- input and output --------------------------------------------------------------------------------------------

    def write(self, data: bytes, deadline: float) -> None:
        """Write frames."""
        try:
            self.transport.write(data, deadline, self.read_available)
        except ConnectionLost as error:
            raise self._remember(error) from None

    def pump(self, deadline: float) -> None:
        """Wait for input until the deadline, and take it in; raise `ConnectionLost` when nothing came."""
        left = deadline - time.monotonic()
        if left <= 0 or not self.transport.wait(left):
            raise self.fail("did not answer in time")
        self.read_available()

    def read_available(self) -> bool:
        """Take in what has arrived; return whether anything had."""
        try:
            data = self.transport.read()
            if not data:
                return False
            self.last_read = time.monotonic()
            for received in self._reader.feed(data):
                channel = self._channels.get(received.channel)
                if channel is not None:
                    (channel.handlers.get(received.method) or channel.received)(received)
                elif received.channel == 0:
                    self._on_control(received)
        except ConnectionLost as error:
            raise self._remember(error) from None
        except FrameError as error:
            raise self.fail(f"does not speak AMQP 0-9-1 ({error})") from None
        return True

    def beat(self) -> None:
        """Write a heartbeat if nothing else is being written. Called by another thread."""
        self.transport.write_if_idle(frames.HEARTBEAT)

    def fail(self, what: str) -> ConnectionLost:
        """End the connection because the broker did `what`; return the error to raise."""
        self.close_socket()
        return self._remember(ConnectionLost(f"RabbitMQ at {self.address.label} {what}"))

    def close(self, deadline: float) -> None:
        """Say goodbye if there is time for it, and close the socket."""
        try:
            if self.lost is None and self.blocked is None:
                self.write(methods.close_connection(), deadline)
                while self.lost is None:
                    self.pump(deadline)
        except ConnectionLost:
            pass
        finally:
            self.close_socket()

    def abandon(self) -> None:
        """Let go of our copy of a parent's socket, whatever locks were held when the process was forked."""
        self.transport.abandon()

    def close_socket(self) -> None:
        """Let go of the socket without a word."""
        self.transport.close()
        if self.lost is None:
            self.lost = ConnectionLost(f"the connection to RabbitMQ at {self.address.label} is closed")

    def _remember(self, error: ConnectionLost) -> ConnectionLost:
        """Keep what the broker said about the end, if it said anything; the socket is of no more use."""
        self.transport.close()
        if self.lost is None or self.lost.close is None:
            self.lost = error
        return self.lost

    # -- channel 0 ---------------------------------------------------------------------------------------------------

    def _on_control(self, received: Received) -> None:
        if received.method == frames.CONNECTION_CLOSE:
            close = methods.read_close(received.arguments)
            self.lost = ConnectionLost(
                f"RabbitMQ at {self.address.label} closed the connection: {plain(close.text)}", close
            )
            self.transport.write_if_idle(frames.method_frame(0, frames.CONNECTION_CLOSE_OK))
            raise self.lost
        if received.method == frames.CONNECTION_CLOSE_OK:
            raise ConnectionLost("closed as asked")
        if received.method == frames.CONNECTION_BLOCKED:
            self.blocked = received.arguments[1:].decode(errors="replace") or "resource alarm"
        elif received.method == frames.CONNECTION_UNBLOCKED:
            self.blocked = None
        else:
            self._control.append(received)

    def _log_in(self, name: str, deadline: float) -> None:
        self.write(frames.PROTOCOL_HEADER, deadline)
        self._check_greeting(deadline)
        start = self._await_control(frames.CONNECTION_START, deadline).arguments
        server, at = read_table(start, 2)
        self.version = _version(server.get("version"))
        mechanism, response = self._credentials(start[at + 4 : at + 4 + LONG.unpack_from(start, at)[0]].split())
        client = {"product": "Longshore", "connection_name": name, "capabilities": _CAPABILITIES}
        self.write(methods.start_ok(client, mechanism, response), deadline)
        proposed = methods.read_tuning(self._await_control(frames.CONNECTION_TUNE, deadline).arguments)
        self.frame_max = min(proposed.frame_max or frames.DEFAULT_FRAME_MAX, frames.DEFAULT_FRAME_MAX)
        channels = min(proposed.channel_max or _CHANNELS, _CHANNELS)
        self.write(methods.tune_ok(Tuning(channels, self.frame_max, self.heartbeat)), deadline)
        self.write(methods.open_connection(self.address.vhost), deadline)
        self._await_control(frames.CONNECTION_OPEN_OK, deadline)

    def _credentials(self, mechanisms: list[bytes]) -> tuple[str, bytes]:
        """A client certificate alone logs in where the broker takes it; else name and password."""
        if b"PLAIN" not in mechanisms and b"EXTERNAL" in mechanisms:
            return "EXTERNAL", b""
        return "PLAIN", b"\x00".join([b"", self.address.user.encode(), self.address.password.encode()])

    def _check_greeting(self, deadline: float) -> None:
        """Refuse a peer that is no RabbitMQ before its bytes are taken for a frame's length."""
        left = deadline - time.monotonic()
        data = self.transport.read() if self.transport.wait(left) else b""
        if not data:
            raise self.fail("did not answer in time")
        if data[0] != 1:
            raise _not_amqp(self.address.label)
        for received in self._reader.feed(data):
            self._on_control(received)

    def _await_control(self, method: int, deadline: float) -> Received:
        while not self._control:
            self.pump(deadline)
        received = self._control.popleft()
        if received.method != method:
            raise self.fail("broke the handshake")
        return received


def _not_amqp(label: str) -> BrokerError:
    return BrokerRefused(f"what answers at {label} does not speak AMQP 0-9-1: is it RabbitMQ's port?")


def _version(value: Any) -> tuple[int, ...]:
    """``3.10.8`` as a tuple; what is not a number ends it."""
    numbers: list[int] = []
    for part in str(value or "").split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
