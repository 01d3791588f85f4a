"""A kombu transport on the same file, for programs that speak kombu: they put, get and acknowledge, we keep the claims.

    Connection("sqlite:///tasks.db", transport="longshore.brokers.sqlite.transport:Transport")
    Connection("longshore+sqlite:///tasks.db")        # once this module has been imported

Thin on purpose: Longshore's own worker does not come this way. Delays and counts are the port's; bindings live in one
process, as with kombu's other virtual transports.
"""

from __future__ import annotations

import itertools
import os
import uuid
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, virtual

from longshore.brokers.port import Claim, Outgoing, Owner, QueueSpec, Settlement
from longshore.brokers.sqlite.broker import SQLiteBroker
from longshore.brokers.sqlite.consumer import SQLiteConsumer
from longshore.exceptions import BrokerError
from longshore.message import JSON, UTF8, Message

ALIAS = "longshore"
TRANSPORT_ALIASES.setdefault(ALIAS, f"{__name__}:Transport")

# Kombu's classes are typed here and there only; as `Any` they are what they are: untyped.
_QoS: Any = virtual.QoS
_Channel: Any = virtual.Channel
_Transport: Any = virtual.Transport

_OF_THE_ENVELOPE = {"body_encoding", "delivery_info", "delivery_tag"}


def to_message(payload: dict[str, Any], body: str | bytes) -> Message:
    """Return kombu's payload as a message of ours; what the envelope needs is not kept."""
    properties = {key: value for key, value in payload["properties"].items() if key not in _OF_THE_ENVELOPE}
    return Message(
        body=body.encode() if isinstance(body, str) else body,
        headers=payload.get("headers") or {},
        properties=properties,
        content_type=payload.get("content-type") or JSON,
        content_encoding=payload.get("content-encoding") or UTF8,
    )


def to_payload(claim: Claim, tag: str) -> dict[str, Any]:
    """Return a claim as the payload that kombu makes its message of."""
    message = claim.message
    info = {
        "exchange": "",
        "routing_key": claim.queue,
        "redelivered": claim.redelivered,
        "priority": message.priority,
    }
    return {
        "body": message.body,
        "content-type": message.content_type,
        "content-encoding": message.content_encoding,
        "headers": dict(message.headers),
        "properties": {**message.properties, "delivery_tag": tag, "delivery_info": info},
    }


class QoS(_QoS):  # type: ignore[misc]  # see above
    """Acknowledging settles the claim."""

    def ack(self, delivery_tag: str) -> None:
        """Settle, and forget the message."""
        self.channel.end(delivery_tag)
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give the message back to the front of its queue, or drop it."""
        self.channel.end(delivery_tag, give_back=requeue)
        super().ack(delivery_tag)


class Channel(_Channel):  # type: ignore[misc]  # see above
    """Puts and claims. Each queue that is consumed has its own consumer."""

    QoS = QoS
    body_encoding = None
    """A file takes bytes as they are."""

    def __init__(self, connection: Any, **options: Any) -> None:
        super().__init__(connection, **options)
        self._broker: SQLiteBroker = connection.broker
        self._worker = f"kombu-{os.getpid()}-{uuid.uuid4()}"
        self._slots = itertools.count()
        self._claimers: dict[str, SQLiteConsumer] = {}
        self._claims: dict[str, Claim] = {}
        self._unacknowledged: set[str] = set()

    def end(self, tag: str, *, give_back: bool = False) -> None:
        """Settle the claim of a delivery, at once."""
        claim = self._claims.pop(tag, None)
        if claim is not None:
            consumer = self._claimers[claim.queue]
            consumer.settle(Settlement(claim, give_back=give_back))
            consumer.flush()

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **options: Any) -> Any:
        """Consume; without acknowledgments a message is settled as it is delivered."""
        (self._unacknowledged.add if no_ack else self._unacknowledged.discard)(queue)
        return super().basic_consume(queue, no_ack, *args, **options)

    def basic_get(self, queue: str, no_ack: bool = False, **options: Any) -> Any:
        """Get one message, or none."""
        message = super().basic_get(queue, no_ack=no_ack, **options)
        if no_ack and message is not None:
            self.end(message.delivery_tag)
        return message

    def close(self) -> None:
        """Give back what was delivered and not acknowledged."""
        super().close()
        while self._claimers:
            self._claimers.popitem()[1].close()

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:  # noqa: ARG002 - kombu's
        claims = self._consumer(queue).claim(1, 0.0)
        if not claims:
            raise Empty
        tag = self._next_delivery_tag()
        self._claims[tag] = claims[0]
        payload = to_payload(claims[0], tag)
        if queue in self._unacknowledged:
            self.end(tag)
        return payload

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        body = self.decode_body(message["body"], message["properties"].get("body_encoding"))
        self._broker.send([Outgoing(queue, to_message(message, body))])

    def _restore(self, message: Any) -> None:
        self.end(message.delivery_tag, give_back=True)

    def _new_queue(self, queue: str, **_: Any) -> None:
        self._broker.declare([QueueSpec(queue)])

    def _has_queue(self, queue: str, **_: Any) -> bool:
        return self._broker.depths([queue])[queue] is not None

    def _size(self, queue: str) -> int:
        depth = self._broker.depths([queue])[queue]
        return depth.ready or 0 if depth else 0

    def _purge(self, queue: str) -> int:
        return self._broker.purge(queue)

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:
        self._broker.delete_queue(queue)

    def _consumer(self, queue: str) -> SQLiteConsumer:
        if queue not in self._claimers:
            self._claimers[queue] = self._broker.consumer(Owner(self._worker, next(self._slots)), [queue])
        return self._claimers[queue]


class Transport(_Transport):  # type: ignore[misc]  # see above
    """One file; the address is the port's, ``sqlite:///FILE?durability=…``."""

    Channel = Channel
    can_parse_url = True
    driver_type = "sqlite"
    driver_name = "longshore"
    polling_interval = 0.01
    connection_errors = (*_Transport.connection_errors, BrokerError)
    channel_errors = (*_Transport.channel_errors, BrokerError)

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        url = str(client.hostname)
        self.broker = SQLiteBroker(url.removeprefix(f"{ALIAS}+"))

    def close_connection(self, connection: Any) -> None:
        """Close the channels, then the file."""
        super().close_connection(connection)
        self.broker.close()
