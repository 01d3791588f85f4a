"""Returns a queue to Celery alone: claims of workers that are gone, suspects, and what waits for its time.

Each step is one script, so that a message is in one place at every moment, whenever this process dies. Delayed messages
become ordinary ones with an `eta`, which a Celery worker holds until then. Knows nothing of the command line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import sleep
from typing import Any

from longshore.brokers.handback import HandedBack
from longshore.brokers.port import WorkerReport
from longshore.brokers.redis.connection import pack
from longshore.brokers.redis.envelope import UNREADABLE, decode, encode
from longshore.brokers.redis.keys import own
from longshore.brokers.redis.server import Server
from longshore.exceptions import HandbackRefused
from longshore.message import Message

_AT_ONCE = 500
_LONGEST_PAUSE = 1.0


def hand_back(server: Server, queue: str, workers: Callable[[], Sequence[WorkerReport]], *, force: bool) -> HandedBack:
    """Return everything of the queue; wait for the leases of workers that have just stopped."""
    while True:
        if not force:
            refuse_while_lived_on(queue, workers())
        left, claims, suspects = server.run("handback", queue, force)
        if float(left) <= 0:
            return HandedBack(queue, claims, suspects, _hand_back_delayed(server, queue))
        sleep(min(float(left), _LONGEST_PAUSE))


def refuse_while_lived_on(queue: str, workers: Sequence[WorkerReport]) -> None:
    """Raise `HandbackRefused` when a worker that spoke lately consumes the queue."""
    names = sorted(worker.name for worker in workers if queue in worker.queues)
    if names:
        raise HandbackRefused(
            f"queue {queue!r} still has {len(names)} Longshore worker{'s' * (len(names) > 1)} "
            f"({', '.join(names[:5])}); stop them first (one that was killed is forgotten after 10 seconds), or use "
            "--force: then what they are running runs a second time"
        )


def _hand_back_delayed(server: Server, queue: str) -> int:
    moved = 0
    while True:
        [flat] = server.call(pack("ZRANGE", own(queue, "delayed"), 0, _AT_ONCE - 1, "WITHSCORES"))
        if not flat:
            return moved
        entries = [_as_celerys(queue, entry, float(due)) for entry, due in zip(flat[::2], flat[1::2], strict=True)]
        moved += int(server.run("handback_delayed", queue, entries))


def _as_celerys(queue: str, entry: bytes, due: float) -> tuple[str, str, str]:
    """Return the entry as it waits, its priority step, and the envelope that a Celery worker holds until it is due."""
    step, envelope = entry[:1].decode(), entry[1:]
    message, _ = decode(envelope)
    if message.content_type != UNREADABLE:
        envelope = encode(queue, with_eta(message, due))
    return entry.decode(), step, envelope.decode()


def with_eta(message: Message, due: float) -> Message:
    """Return the message with its time in the header, or, of protocol 1, in the body."""
    eta = datetime.fromtimestamp(due, UTC).isoformat()
    body, headers = message.body, dict(message.headers)
    if "task" in headers:
        headers["eta"] = eta
    else:
        body = _first_protocol(body, eta)
    return Message(body, headers, message.properties, message.content_type, message.content_encoding)


def _first_protocol(body: bytes, eta: str) -> bytes:
    try:
        fields: Any = json.loads(body)
    except ValueError:
        return body
    return json.dumps({**fields, "eta": eta}).encode() if isinstance(fields, dict) else body
