"""AMQP 0-9-1 frames: bytes from a socket become methods with their content, and methods become bytes.

Pure: it holds the unfinished part of the stream and nothing else; no socket, no time. One read of the socket is parsed
in one go, which is where the speed of a consumer comes from.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from longshore.brokers.rabbitmq.tables import LONG, short_string

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
DEFAULT_FRAME_MAX = 131_072

_HEAD = Struct(">BHI")
_METHOD_HEAD = Struct(">BHII")
_CONTENT_HEAD = Struct(">HHQ")
_BODY_SIZE = Struct(">Q")
_HEADER_FRAME = Struct(">BHIHHQ")
_END = 0xCE
_OVERHEAD = 8
_METHOD, _HEADER, _BODY = 1, 2, 3
_END_BYTE = b"\xce"


def _method(class_id: int, method_id: int) -> int:
    return class_id << 16 | method_id


CONNECTION_START = _method(10, 10)
CONNECTION_START_OK = _method(10, 11)
CONNECTION_TUNE = _method(10, 30)
CONNECTION_TUNE_OK = _method(10, 31)
CONNECTION_OPEN = _method(10, 40)
CONNECTION_OPEN_OK = _method(10, 41)
CONNECTION_CLOSE = _method(10, 50)
CONNECTION_CLOSE_OK = _method(10, 51)
CONNECTION_BLOCKED = _method(10, 60)
CONNECTION_UNBLOCKED = _method(10, 61)
CHANNEL_OPEN = _method(20, 10)
CHANNEL_OPEN_OK = _method(20, 11)
CHANNEL_CLOSE = _method(20, 40)
CHANNEL_CLOSE_OK = _method(20, 41)
EXCHANGE_DECLARE = _method(40, 10)
EXCHANGE_DECLARE_OK = _method(40, 11)
EXCHANGE_BIND = _method(40, 30)
EXCHANGE_BIND_OK = _method(40, 31)
QUEUE_DECLARE = _method(50, 10)
QUEUE_DECLARE_OK = _method(50, 11)
QUEUE_BIND = _method(50, 20)
QUEUE_BIND_OK = _method(50, 21)
QUEUE_PURGE = _method(50, 30)
QUEUE_PURGE_OK = _method(50, 31)
QUEUE_DELETE = _method(50, 40)
QUEUE_DELETE_OK = _method(50, 41)
BASIC_QOS = _method(60, 10)
BASIC_QOS_OK = _method(60, 11)
BASIC_CONSUME = _method(60, 20)
BASIC_CONSUME_OK = _method(60, 21)
BASIC_CANCEL = _method(60, 30)
BASIC_CANCEL_OK = _method(60, 31)
BASIC_PUBLISH = _method(60, 40)
BASIC_RETURN = _method(60, 50)
BASIC_DELIVER = _method(60, 60)
BASIC_GET = _method(60, 70)
BASIC_GET_OK = _method(60, 71)
BASIC_GET_EMPTY = _method(60, 72)
BASIC_ACK = _method(60, 80)
BASIC_REJECT = _method(60, 90)
BASIC_NACK = _method(60, 120)
CONFIRM_SELECT = _method(85, 10)
CONFIRM_SELECT_OK = _method(85, 11)

_DELIVER_HEAD = LONG.pack(BASIC_DELIVER)
_WITH_CONTENT = frozenset({BASIC_RETURN, BASIC_DELIVER, BASIC_GET_OK})


class FrameError(Exception):
    """The stream is not AMQP 0-9-1."""


class Received(NamedTuple):
    """One method from the broker: its arguments still as bytes, and its content where it has one."""

    channel: int
    method: int
    arguments: bytes
    properties: bytes
    body: bytes


class FrameReader:
    """Puts methods together from the stream, whatever pieces it comes in."""

    __slots__ = ("_contents", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._contents: dict[int, _Content] = {}

    def feed(self, data: bytes) -> list[Received]:
        """Return what is complete now; the rest waits for the next call."""
        buffer = self._rest + data if self._rest else data
        at, end = 0, len(buffer)
        complete: list[Received] = []
        while end - at >= _OVERHEAD:
            kind, channel, size = _HEAD.unpack_from(buffer, at)
            stop = at + 7 + size
            if stop >= end:
                break
            if buffer[stop] != _END:
                raise FrameError("a frame does not end where it says")
            whole = 0
            if kind == _METHOD and buffer[at + 7 : at + 11] == _DELIVER_HEAD and channel not in self._contents:
                whole = _delivery(buffer, at + 11, stop, end, channel, complete)
            if not whole:
                self._frame(kind, channel, buffer, at + 7, stop, complete)
            at = whole or stop + 1
        self._rest = buffer[at:]
        return complete

    def _frame(self, kind: int, channel: int, buffer: bytes, at: int, stop: int, complete: list[Received]) -> None:
        if kind == _METHOD:
            method = LONG.unpack_from(buffer, at)[0]
            if method in _WITH_CONTENT:
                self._contents[channel] = _Content(method, buffer[at + 4 : stop])
            else:
                complete.append(Received(channel, method, buffer[at + 4 : stop], b"", b""))
        elif kind in (_HEADER, _BODY):
            self._content(kind, channel, buffer, at, stop, complete)

    def _content(self, kind: int, channel: int, buffer: bytes, at: int, stop: int, complete: list[Received]) -> None:
        content = self._contents.get(channel)
        if content is None:
            raise FrameError("content without its method")
        if kind == _HEADER:
            content.missing = _BODY_SIZE.unpack_from(buffer, at + 4)[0]
            content.properties = buffer[at + 12 : stop]
        else:
            content.parts.append(buffer[at:stop])
            content.missing -= stop - at
        if content.missing <= 0:
            del self._contents[channel]
            complete.append(content.received(channel))


def _delivery(buffer: bytes, at: int, stop: int, end: int, channel: int, complete: list[Received]) -> int:
    """Read a delivery whose three frames are all here and follow each other; return what is behind it, else 0."""
    header = stop + 1
    if end - header < _HEADER_FRAME.size:
        return 0
    kind, its_channel, size, _, _, body_size = _HEADER_FRAME.unpack_from(buffer, header)
    header_stop = header + 7 + size
    body = header_stop + 8
    body_stop: int = body + body_size
    if body_stop >= end or kind != _HEADER or its_channel != channel:
        return 0
    if _HEAD.unpack_from(buffer, header_stop + 1) != (_BODY, channel, body_size):
        return 0
    if buffer[header_stop] != _END or buffer[body_stop] != _END:
        raise FrameError("a frame does not end where it says")
    properties, content = buffer[header + _HEADER_FRAME.size : header_stop], buffer[body:body_stop]
    complete.append(Received(channel, BASIC_DELIVER, buffer[at:stop], properties, content))
    return body_stop + 1


class _Content:
    __slots__ = ("arguments", "method", "missing", "parts", "properties")

    def __init__(self, method: int, arguments: bytes) -> None:
        self.method = method
        self.arguments = arguments
        self.properties = b""
        self.missing = 0
        self.parts: list[bytes] = []

    def received(self, channel: int) -> Received:
        body = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        return Received(channel, self.method, self.arguments, self.properties, body)


def method_frame(channel: int, method: int, arguments: bytes = b"") -> bytes:
    """Return a method without content as bytes."""
    return _METHOD_HEAD.pack(_METHOD, channel, len(arguments) + 4, method) + arguments + _END_BYTE


def publish_frames(
    channel: int, exchange: str, routing_key: str, properties: bytes, body: bytes, *, mandatory: bool, frame_max: int
) -> bytes:
    """Return a whole publish (method, header, body) as bytes, to be written in one piece."""
    arguments = b"\x00\x00" + short_string(exchange) + short_string(routing_key) + (b"\x01" if mandatory else b"\x00")
    header = _CONTENT_HEAD.pack(60, 0, len(body)) + properties
    parts = [
        method_frame(channel, BASIC_PUBLISH, arguments),
        _HEAD.pack(_HEADER, channel, len(header)),
        header,
        _END_BYTE,
    ]
    room = frame_max - _OVERHEAD
    for start in range(0, len(body), room):
        piece = body[start : start + room]
        parts += (_HEAD.pack(_BODY, channel, len(piece)), piece, _END_BYTE)
    return b"".join(parts)
