"""Between our messages and what AMQP carries: properties, headers and body of one publish or delivery.

Pure. What RabbitMQ adds on the way (the x-death family) is taken off on both sides: sent again it would make the broker
take a message for one that goes round in circles, and drop it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from longshore.brokers.rabbitmq import tables
from longshore.brokers.rabbitmq.frames import publish_frames
from longshore.exceptions import MessageError
from longshore.message import JSON, UTF8, Message

PERSISTENT = 2
BROKER_COUNT = "x-delivery-count"
"""On a redelivery from a quorum queue: how often it was given out before."""
LARGEST_HEADERS = 120_000
"""They travel in one frame, which RabbitMQ limits to 131,072 bytes."""
_DEATHS = ("x-death", "x-first-death-", "x-last-death-")
_THEIRS = re.compile("x-").match
_NOT_OURS_TO_SEND = ("user_id", "cluster_id")
"""The broker refuses a `user_id` that is not the sender's."""

Read = Callable[[bytes], dict[str, Any]]


class Letter(NamedTuple):
    """One publish, ready but for the channel's number."""

    exchange: str
    routing_key: str
    properties: bytes
    body: bytes

    def frames(self, channel: int, frame_max: int) -> bytes:
        """Return the bytes for a channel; mandatory, so that the broker returns what finds no queue."""
        return publish_frames(
            channel, self.exchange, self.routing_key, self.properties, self.body, mandatory=True, frame_max=frame_max
        )


def letter(message: Message, exchange: str, routing_key: str, *, delayed: bool = False) -> Letter:
    """Encode a message; `delayed` takes off its expiration, which would fire while it waits."""
    properties = {**message.properties}
    properties.setdefault("delivery_mode", PERSISTENT)
    properties["content_type"] = message.content_type
    properties["content_encoding"] = message.content_encoding
    properties["headers"] = without_deaths(message.headers)
    for name in (*_NOT_OURS_TO_SEND, *(("expiration",) if delayed else ())):
        properties.pop(name, None)
    encoded = tables.properties(properties)
    if len(encoded) > LARGEST_HEADERS:
        raise MessageError(
            f"headers of {message.id or 'the message'} take {len(encoded)} bytes, above {LARGEST_HEADERS}"
        )
    return Letter(exchange, routing_key, encoded, message.body)


def opened(properties: bytes, body: bytes, read: Read = tables.read_properties) -> tuple[Message, int]:
    """Decode a delivery; return the message and how often a quorum queue says it was given out before."""
    values = read(properties)
    headers: dict[str, Any] = values.pop("headers", None) or {}
    before = headers.pop(BROKER_COUNT, 0) if BROKER_COUNT in headers else 0
    if "x-death" in headers:
        headers = without_deaths(headers)
    content_type = values.pop("content_type", JSON)
    encoding = values.pop("content_encoding", UTF8)
    return Message(body, headers, values, content_type, encoding), before if isinstance(before, int) else 0


def without_deaths(headers: dict[str, Any]) -> dict[str, Any]:
    """Return the headers without what dead-lettering and redelivery left there: mostly themselves."""
    if not any(map(_THEIRS, headers)):
        return headers
    return {key: value for key, value in headers.items() if not key.startswith(_DEATHS) and key != BROKER_COUNT}
