"""The few AMQP methods that Longshore sends, each as a function from values to bytes, and the answers that it reads.

Pure. Every function returns a complete frame for a channel; nothing here knows when or where it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any, NamedTuple

from longshore.brokers.rabbitmq import frames
from longshore.brokers.rabbitmq.frames import method_frame
from longshore.brokers.rabbitmq.tables import LONG, LONGLONG, SHORT, read_short_string, short_string, table

_ACK = Struct(">QB")
_QOS = Struct(">IHB")
_TAG = Struct(">Q?")
_EMPTY_TABLE = b"\x00\x00\x00\x00"


class QueueFacts(NamedTuple):
    """What a declare answers."""

    queue: str
    messages: int
    consumers: int


class Close(NamedTuple):
    """Why the broker closed a channel or a connection."""

    code: int
    text: str


class Tuning(NamedTuple):
    """Limits of a connection; 0 is none."""

    channel_max: int
    frame_max: int
    heartbeat: int


# -- connection and channel ------------------------------------------------------------------------------------------


def start_ok(client: Mapping[str, Any], mechanism: str, response: bytes) -> bytes:
    """Answer the greeting with who we are and the credentials."""
    arguments = table(client) + short_string(mechanism) + LONG.pack(len(response)) + response + short_string("en_US")
    return method_frame(0, frames.CONNECTION_START_OK, arguments)


def tune_ok(tuning: Tuning) -> bytes:
    """Agree on limits."""
    arguments = SHORT.pack(tuning.channel_max) + LONG.pack(tuning.frame_max) + SHORT.pack(tuning.heartbeat)
    return method_frame(0, frames.CONNECTION_TUNE_OK, arguments)


def open_connection(vhost: str) -> bytes:
    """Enter a vhost."""
    return method_frame(0, frames.CONNECTION_OPEN, short_string(vhost) + b"\x00\x00")


def close_connection() -> bytes:
    """Say goodbye."""
    return method_frame(0, frames.CONNECTION_CLOSE, SHORT.pack(200) + short_string("bye") + _EMPTY_TABLE)


def open_channel(channel: int) -> bytes:
    """Open a channel."""
    return method_frame(channel, frames.CHANNEL_OPEN, b"\x00")


def close_channel(channel: int) -> bytes:
    """Close a channel; what it holds unacknowledged goes back."""
    return method_frame(channel, frames.CHANNEL_CLOSE, SHORT.pack(200) + short_string("bye") + _EMPTY_TABLE)


def read_tuning(arguments: bytes) -> Tuning:
    """Decode the limits that the broker proposes."""
    return Tuning(
        SHORT.unpack_from(arguments)[0], LONG.unpack_from(arguments, 2)[0], SHORT.unpack_from(arguments, 6)[0]
    )


def read_close(arguments: bytes) -> Close:
    """Decode why a channel or connection was closed."""
    return Close(SHORT.unpack_from(arguments)[0], read_short_string(arguments, 2)[0])


# -- queues and exchanges --------------------------------------------------------------------------------------------


def declare_queue(
    channel: int,
    queue: str,
    *,
    passive: bool = False,
    durable: bool = True,
    exclusive: bool = False,
    auto_delete: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> bytes:
    """Declare a queue, or with `passive` only look at it."""
    bits = passive | durable << 1 | exclusive << 2 | auto_delete << 3
    encoded = b"\x00\x00" + short_string(queue) + bytes([bits]) + table(arguments or {})
    return method_frame(channel, frames.QUEUE_DECLARE, encoded)


def bind_queue(channel: int, queue: str, exchange: str, routing_key: str) -> bytes:
    """Bind a queue to an exchange; binding twice is one binding."""
    names = short_string(queue) + short_string(exchange) + short_string(routing_key)
    return method_frame(channel, frames.QUEUE_BIND, b"\x00\x00" + names + b"\x00" + _EMPTY_TABLE)


def purge_queue(channel: int, queue: str) -> bytes:
    """Drop what is ready in a queue."""
    return method_frame(channel, frames.QUEUE_PURGE, b"\x00\x00" + short_string(queue) + b"\x00")


def delete_queue(channel: int, queue: str, *, nowait: bool = False) -> bytes:
    """Remove a queue."""
    return method_frame(
        channel, frames.QUEUE_DELETE, b"\x00\x00" + short_string(queue) + (b"\x04" if nowait else b"\x00")
    )


def declare_exchange(channel: int, exchange: str, kind: str, *, passive: bool = False, durable: bool = True) -> bytes:
    """Declare an exchange, or with `passive` only look whether it is there."""
    arguments = short_string(exchange) + short_string(kind) + bytes([passive | durable << 1]) + _EMPTY_TABLE
    return method_frame(channel, frames.EXCHANGE_DECLARE, b"\x00\x00" + arguments)


def bind_exchange(channel: int, destination: str, source: str, routing_key: str) -> bytes:
    """Let an exchange receive what another one routes."""
    names = short_string(destination) + short_string(source) + short_string(routing_key)
    return method_frame(channel, frames.EXCHANGE_BIND, b"\x00\x00" + names + b"\x00" + _EMPTY_TABLE)


def read_queue_facts(arguments: bytes) -> QueueFacts:
    """Decode the answer to a declare."""
    queue, at = read_short_string(arguments, 0)
    return QueueFacts(queue, LONG.unpack_from(arguments, at)[0], LONG.unpack_from(arguments, at + 4)[0])


def read_count(arguments: bytes) -> int:
    """Decode the answer to a purge or a delete: how many messages are gone."""
    return int(LONG.unpack_from(arguments)[0])


# -- messages --------------------------------------------------------------------------------------------------------


def qos(channel: int, prefetch: int, *, whole_channel: bool) -> bytes:
    """Limit what is unacknowledged: for consumers that follow, or for the whole channel."""
    return method_frame(channel, frames.BASIC_QOS, _QOS.pack(0, prefetch, whole_channel))


def consume(
    channel: int, queue: str, tag: str, *, no_ack: bool = False, options: Mapping[str, Any] | None = None
) -> bytes:
    """Have messages delivered; acknowledgements are wanted unless `no_ack`."""
    bits = b"\x02" if no_ack else b"\x00"
    arguments = b"\x00\x00" + short_string(queue) + short_string(tag) + bits + table(options or {})
    return method_frame(channel, frames.BASIC_CONSUME, arguments)


def cancel(channel: int, tag: str) -> bytes:
    """End deliveries of one consumer; what it holds stays held."""
    return method_frame(channel, frames.BASIC_CANCEL, short_string(tag) + b"\x00")


def get(channel: int, queue: str, *, no_ack: bool) -> bytes:
    """Fetch one message."""
    return method_frame(channel, frames.BASIC_GET, b"\x00\x00" + short_string(queue) + (b"\x01" if no_ack else b"\x00"))


def ack(channel: int, tag: int, *, multiple: bool) -> bytes:
    """Acknowledge one delivery, or all up to it."""
    return method_frame(channel, frames.BASIC_ACK, _ACK.pack(tag, multiple))


def requeue(channel: int, tag: int, *, multiple: bool = False) -> bytes:
    """Give one delivery back to its place in the queue, or all up to it."""
    return method_frame(channel, frames.BASIC_NACK, _ACK.pack(tag, 2 | multiple))


def select_confirms(channel: int) -> bytes:
    """Have publishes on this channel confirmed."""
    return method_frame(channel, frames.CONFIRM_SELECT, b"\x00")


class Delivery(NamedTuple):
    """The arguments of a delivery."""

    consumer: str
    tag: int
    redelivered: bool


def read_delivery(arguments: bytes) -> Delivery:
    """Decode who gets a message, under which tag; exchange and routing key are of no use to us."""
    end = 1 + arguments[0]
    return Delivery(arguments[1:end].decode(), *_TAG.unpack_from(arguments, end))


def read_tag(arguments: bytes) -> tuple[int, bool]:
    """Decode a tag and its bit: of a confirm (`multiple`), or of a fetched message (`redelivered`)."""
    return LONGLONG.unpack_from(arguments)[0], arguments[8] != 0


def read_consumer_tag(arguments: bytes) -> str:
    """Decode the tag of a consumer that the broker has cancelled."""
    return read_short_string(arguments, 0)[0]


def read_return(arguments: bytes) -> tuple[str, str]:
    """Decode exchange and routing key of a message that found no queue."""
    _, at = read_short_string(arguments, 2)
    exchange, at = read_short_string(arguments, at)
    return exchange, read_short_string(arguments, at)[0]


def read_messages_left(arguments: bytes) -> int:
    """Decode from the answer to a fetch how many messages are still in the queue."""
    _, at = read_short_string(arguments, 9)
    _, at = read_short_string(arguments, at)
    return int(LONG.unpack_from(arguments, at)[0])
