r"""Remote control over Redis as kombu does it: commands and events are published to channels, replies go into a list.

One connection listens, another one publishes. Channels carry the number of the database (``/0.celery.pidbox``), which
`PUBLISH` itself does not know. A reply goes to whatever queue is bound to its address in `_kombu.binding.<exchange>`.
"""

from __future__ import annotations

import os
import select
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

import msgspec

from longshore.brokers.control import EVERYTHING, Event, Mail, Names, Waiting, decode, encode, waiting_for
from longshore.brokers.redis import envelope
from longshore.brokers.redis.address import parse
from longshore.brokers.redis.connection import Argument, ConnectFailed, Connection, ConnectionBroken, ReplyError, pack
from longshore.brokers.redis.errors import broker_error
from longshore.brokers.redis.keys import LANES, lane_list, own
from longshore.brokers.redis.server import DEADLINE, Server
from longshore.message import JSON, UTF8, Message

_SEPARATOR = "\x06\x16"
_REPLIES_LIVE_MS = 60_000
"""A list that nobody reads any more goes away by itself."""
_BINDING_LIVES_MS = 3_600_000
_PATTERN = (b"pmessage", 4)
_PLAIN = (b"message", 3)
_PING_SECONDS = 20.0
"""A silent connection is asked this often whether it still is one."""
_HELD_LIMIT = 1000
_ANYWHERE = "longshore:1:control"
"""Of a cluster's nodes the one that has this key, which is never written: what is published reaches all."""

_encode = msgspec.json.Encoder(enc_hook=str).encode


class RedisLine:
    """The port's `ControlLine`."""

    def __init__(self, url: str, names: Names) -> None:
        self._names = names
        self._url = url
        self._is_cluster = parse(url).is_cluster
        self._server = Server(url, broker_error, _ANYWHERE if self._is_cluster else None)
        self._address = self._server.address
        self._servers: dict[str, Server] = {}
        self._ears = Connection(self._address)
        self._subscribe: tuple[str, ...] = ()
        self._inbox = ""
        self._asked = 0.0
        """When the silent connection was asked for a sign of life; 0 when it owes none."""
        self._heard_at = 0.0

    # -- listening ---------------------------------------------------------------------------------------------------

    def hear_commands(self, node: str) -> None:  # noqa: ARG002 - every node hears everything
        """Subscribe to the channel of commands."""
        self._subscribe = ("SUBSCRIBE", self._channel(self._names.commands_exchange))
        self._listening()

    def hear_events(self, listener: str, topic: str = EVERYTHING) -> None:  # noqa: ARG002 - nothing is kept for it
        """Subscribe to the channels of events."""
        pattern = topic.replace("#", "*")
        self._subscribe = ("PSUBSCRIBE", self._channel(self._names.events, pattern))
        self._listening()

    def hear_replies(self, inbox: str) -> None:
        """Bind a list of our own, as kombu's workers look it up."""
        if self._is_cluster:
            self._subscribe = ("SUBSCRIBE", self._channel(self._names.reply_queue(inbox)))
            self._listening()
            return
        self._inbox = inbox
        exchange = self._names.replies_exchange
        deadline = int(time.time() * 1000) + _BINDING_LIVES_MS
        self._server.call(
            pack("SADD", f"_kombu.binding.{exchange}", self._binding(inbox))
            + pack("ZADD", "_kombu.binding_deadlines", "GT", deadline, exchange),
            2,
        )

    def receive(self, wait: float, wake_fd: int | None = None) -> list[Mail]:
        """Return what was published since the last call, or what lies in our list."""
        if self._inbox:
            return self._replies(wait)
        try:
            self._listening()
            if self._await(monotonic() + wait, wake_fd):
                return self._arrived()
        except (ConnectFailed, ConnectionBroken, ReplyError) as trouble:
            self._ears.close()
            raise broker_error(trouble, self._address) from trouble
        return []

    def _listening(self) -> None:
        """Subscribe, or subscribe again on a new connection."""
        if self._ears.is_open or not self._subscribe:
            return
        try:
            self._ears.open(monotonic() + DEADLINE)
            answer = self._ears.exchange(pack(*self._subscribe), 1, monotonic() + DEADLINE)[0]
            if isinstance(answer, ReplyError):
                raise answer
        except (ConnectFailed, ConnectionBroken, ReplyError) as trouble:
            self._ears.close()
            raise broker_error(trouble, self._address) from trouble
        self._asked, self._heard_at = 0.0, monotonic()

    def _await(self, until: float, wake_fd: int | None) -> bool:
        """Wait; a connection that says nothing for long must answer a ping: it may be gone without a word."""
        if self._ears.has_input():
            return True
        if self._asked and monotonic() - self._asked > DEADLINE:
            raise ConnectionBroken(f"Redis at {self._address.shown} is silent")
        if not self._asked and monotonic() - self._heard_at > _PING_SECONDS:
            self._ears.send(pack("PING"), monotonic() + DEADLINE)
            self._asked = monotonic()
        poll = select.poll()
        for descriptor in (self._ears.fileno(), *((wake_fd,) if wake_fd is not None else ())):
            poll.register(descriptor, select.POLLIN)
        ready = poll.poll(max(until - monotonic(), 0.0) * 1000)
        return any(descriptor == self._ears.fileno() for descriptor, _ in ready)

    def _arrived(self) -> list[Mail]:
        mails = []
        while self._ears.has_input():
            answer = self._ears.receive(monotonic() + DEADLINE)
            self._asked, self._heard_at = 0.0, monotonic()
            if isinstance(answer, list) and (answer[0], len(answer)) in (_PATTERN, _PLAIN):
                mails += _mails(answer[-1])
        return mails

    def _replies(self, wait: float) -> list[Mail]:
        """A blocking pop on a connection of its own, then whatever else is there."""
        queue = self._names.reply_queue(self._inbox)
        deadline = monotonic() + wait + DEADLINE
        try:
            if not self._ears.is_open:
                self._ears.open(deadline)
            first = self._ears.exchange(pack("BRPOP", queue, max(wait, 0.001)), 1, deadline)[0]
            if isinstance(first, ReplyError):
                raise first
            if first is None:
                return []
            more = self._ears.exchange(pack("RPOP", queue, 1000), 1, deadline)[0]
        except (ConnectFailed, ConnectionBroken, ReplyError) as trouble:
            self._ears.close()
            raise broker_error(trouble, self._address) from trouble
        return [mail for element in [first[1], *(more or [])] for mail in _mails(element)]

    # -- publishing --------------------------------------------------------------------------------------------------

    def command(self, body: Mapping[str, Any], headers: Mapping[str, Any]) -> None:
        """Publish to the channel of commands."""
        exchange = self._names.commands_exchange
        self._server.call(pack("PUBLISH", self._channel(exchange), _wrap(exchange, "", body, headers)))

    def reply(self, exchange: str, inbox: str, body: Any, headers: Mapping[str, Any]) -> None:
        """Push to the lists that are bound to the address; a cluster has no Celery, and a channel will do."""
        if self._is_cluster:
            channel = self._channel(f"{inbox}.{exchange}")
            self._server.call(pack("PUBLISH", channel, _wrap(exchange, inbox, body, headers)))
            return
        [members] = self._server.call(pack("SMEMBERS", f"_kombu.binding.{exchange}"))
        bindings = [member.decode(errors="replace").split(_SEPARATOR) for member in members]
        queues = [parts[2] for parts in bindings if len(parts) > 2 and parts[0] == inbox]  # noqa: PLR2004
        if queues:
            element = _wrap(exchange, inbox, body, headers)
            data = b"".join(pack("LPUSH", q, element) + pack("PEXPIRE", q, _REPLIES_LIVE_MS) for q in queues)
            self._server.call(data, 2 * len(queues))

    def publish(self, events: Sequence[Event]) -> None:
        """Publish each to the channel of its topic."""
        name = self._names.events
        commands = [
            pack("PUBLISH", self._channel(name, event.topic), _wrap(name, event.topic, event.body, event.headers))
            for event in events
        ]
        if commands:
            self._server.call(b"".join(commands), len(commands))

    # -- looking -----------------------------------------------------------------------------------------------------

    def held(self, worker: str, queues: Sequence[str]) -> list[tuple[str, Message]] | None:
        """Read the claims of a worker's owners."""
        return [(queue, message) for queue in queues for message in self._held(worker, queue)][:_HELD_LIMIT]

    def _held(self, worker: str, queue: str) -> list[Message]:
        server = self._server_of(queue)
        [owners] = server.call(pack("ZRANGE", own(queue, "owners"), 0, -1))
        mine = [owner.decode() for owner in owners if _is_of(owner, worker)]
        asked = b"".join(pack("HVALS", own(queue, f"held:{owner}")) for owner in mine)
        answers = server.call(asked, len(mine)) if mine else []
        return [envelope.decode(element)[0] for values in answers for element in values]

    def delayed(self, queues: Sequence[str], limit: int, *, behind: bool = False) -> list[Waiting]:  # noqa: ARG002 - looking costs nothing here
        """Read the sorted sets, and what a Celery client has put into the lists with an `eta`."""
        waiting = [each for queue in queues for each in self._delayed(queue, limit)]
        return sorted(waiting, key=lambda each: each.due_at)[:limit]

    def _delayed(self, queue: str, limit: int) -> list[Waiting]:
        """With those that no worker has moved to the delayed ones yet, because all are busy."""
        lists = [lane_list(queue, lane, self._is_cluster) for lane in LANES]
        data = pack("ZRANGE", own(queue, "delayed"), 0, limit - 1, "WITHSCORES")
        data += b"".join(pack("LRANGE", name, -limit, -1) for name in lists)
        row, *ready = self._server_of(queue).call(data, 1 + len(lists))
        pairs = zip(row[::2], row[1::2], strict=True)
        found = [Waiting(float(due), queue, envelope.decode(element[1:])[0]) for element, due in pairs]
        messages = [envelope.decode(element)[0] for elements in ready for element in elements]
        return found + [waiting for message in messages if (waiting := waiting_for(queue, message))]

    def _server_of(self, queue: str) -> Server:
        """In a cluster each queue has its node."""
        if not self._is_cluster:
            return self._server
        if queue not in self._servers:
            self._servers[queue] = Server(self._url, broker_error, own(queue, ""))
        return self._servers[queue]

    # -- life --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Unbind what was bound, and close both connections."""
        if self._inbox:
            exchange, queue = self._names.replies_exchange, self._names.reply_queue(self._inbox)
            self._server.call(
                pack("SREM", f"_kombu.binding.{exchange}", self._binding(self._inbox)) + pack("DEL", queue), 2
            )
            self._inbox = ""
        self._let_go()

    def abandon(self) -> None:
        """Close the child's copies; the server hears nothing of it."""
        self._let_go()

    def _let_go(self) -> None:
        self._ears.close()
        for server in (self._server, *self._servers.values()):
            server.close()

    def _channel(self, exchange: str, topic: str = "") -> str:
        return f"/{self._address.database}.{exchange}" + (f"/{topic}" if topic else "")

    def _binding(self, inbox: str) -> str:
        return _SEPARATOR.join((inbox, "", self._names.reply_queue(inbox)))


def open_line(url: str, names: Names) -> RedisLine:
    """Return a line; nothing is connected yet."""
    return RedisLine(url, names)


def _is_of(owner: bytes, worker: str) -> bool:
    return owner.decode(errors="replace").rpartition("/")[0] == worker


def _wrap(exchange: str, routing_key: str, body: Any, headers: Mapping[str, Any]) -> Argument:
    """Return the envelope of a transient message."""
    tag = os.urandom(16).hex()
    return _encode(
        {
            "body": b64encode(encode(body)).decode(),
            "content-encoding": UTF8,
            "content-type": JSON,
            "headers": headers,
            "properties": {
                "delivery_mode": 1,
                "delivery_info": {"exchange": exchange, "routing_key": routing_key},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": f"{tag[:8]}-{tag[8:12]}-{tag[12:16]}-{tag[16:20]}-{tag[20:]}",
            },
        }
    )


def _mails(element: bytes) -> list[Mail]:
    """What is no JSON message is nobody's command."""
    message, _ = envelope.decode(element)
    if message.content_type != JSON:
        return []
    body = decode(message.body)
    return [] if body is None else [Mail(body, message.headers)]
