"""What Celery's workers hold on the same server, restored when they hold it for too long.

Celery's workers do this for each other; where none is left, nobody else would. Knows Celery's facts: the hash `unacked`
of ``[envelope, exchange, routing key]``, the sorted set `unacked_index` of when each was taken, the mutex, and the
bindings of a named exchange. Takes only what belongs to queues of ours alone; knows nothing of our own claims.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any

from longshore.brokers.redis.connection import pack
from longshore.brokers.redis.envelope import decode, lane
from longshore.brokers.redis.server import Server
from longshore.exceptions import BrokerRefused

_LONGEST_PAUSE = 10.0
"""Seconds between two looks; of a short time-out, a quarter."""
_AT_ONCE = 100
_SEPARATOR = "\x06\x16"

_log = logging.getLogger(__name__)


class CeleryClaims:
    """Celery's claims on a server; `restore` may be called as often as one likes."""

    def __init__(self, server: Server, timeout: float) -> None:
        self._server = server
        self._timeout = timeout
        self._next_look = 0.0
        self._may = True

    def restore(self, queues: Sequence[str]) -> int:
        """Put back what belongs to these queues and is overdue; return how many messages moved."""
        if not self._may or monotonic() < self._next_look:
            return 0
        self._next_look = monotonic() + min(_LONGEST_PAUSE, self._timeout / 4)
        try:
            return self._restore(frozenset(queues))
        except BrokerRefused as refusal:
            self._may = False
            _log.warning("messages that Celery's workers lost are not restored from here: %s", refusal)
            return 0

    def _restore(self, queues: frozenset[str]) -> int:
        restored = left = 0
        while overdue := self._server.run("celery_overdue", self._timeout, left, _AT_ONCE):
            entries = [entry for tag, text in overdue if (entry := self._entry(tag, text, queues)) is not None]
            moved = int(self._server.run("celery_restore", self._timeout, entries)) if entries else 0
            restored, left = restored + moved, left + len(overdue) - moved
        return restored

    def _entry(
        self, tag: bytes, text: bytes | None, queues: frozenset[str]
    ) -> tuple[str, str, str, tuple[str, ...]] | None:
        """Return what the script needs: tag, priority step, envelope, queues; `None` for what is left alone."""
        parsed = parse(text)
        if parsed is None:
            return None
        envelope, exchange, routing_key = parsed
        targets = self._targets(exchange, routing_key)
        if not targets or not queues.issuperset(targets):
            return None
        element = json.dumps(marked_redelivered(envelope))
        return tag.decode(), lane(decode(element.encode())[0]), element, targets

    def _targets(self, exchange: str, routing_key: str) -> tuple[str, ...]:
        if not exchange:
            return (routing_key,)
        [members] = self._server.call(pack("SMEMBERS", f"_kombu.binding.{exchange}"))
        return bound_queues((member.decode(errors="replace") for member in members), routing_key)


def parse(text: bytes | None) -> tuple[dict[str, Any], str, str] | None:
    """Return envelope, exchange and routing key of an entry of `unacked`; `None` for what is none."""
    try:
        envelope, exchange, routing_key = json.loads(text or b"")
    except (ValueError, TypeError):
        return None
    if not isinstance(envelope, dict) or not isinstance(routing_key, str) or not isinstance(exchange, str | None):
        return None
    return envelope, exchange or "", routing_key


def bound_queues(bindings: Iterable[str], routing_key: str) -> tuple[str, ...]:
    """Return the queues to which an exchange with these bindings takes a routing key.

    A binding is ``key, pattern, queue``; only those of topic exchanges have a pattern, a regular expression.
    """
    found = set()
    for binding in bindings:
        key, pattern, queue = (*binding.split(_SEPARATOR), "", "")[:3]
        if queue and (re.match(pattern, routing_key) if pattern else key == routing_key):
            found.add(queue)
    return tuple(sorted(found))


def marked_redelivered(envelope: dict[str, Any]) -> dict[str, Any]:
    """Return the envelope with the marks of a message that was held before, where it has room for them."""
    headers, properties = envelope.get("headers"), envelope.get("properties")
    if isinstance(headers, dict):
        headers["redelivered"] = True
    if isinstance(properties, dict) and isinstance(properties.get("delivery_info"), dict):
        properties["delivery_info"]["redelivered"] = True
    return envelope
