"""Work through the dead letters that a selection names: claimed, looked at, settled; the others go back untouched.

Nothing is taken before what replaces it is confirmed, so that a crash makes at worst a duplicate.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable

import click

from longshore.brokers.port import Broker, Outgoing, Owner, Settlement
from longshore.core.letters import Selection
from longshore.exceptions import QueueNotFound
from longshore.message import Message

BATCH = 100

Replacement = Callable[[Message], tuple[Outgoing, ...]]
"""What is sent in the place of a letter, before it is removed."""


def ready_letters(broker: Broker, queue: str) -> int:
    """Return how many letters wait in `queue`; raise `QueueNotFound` where there is none such."""
    depth = broker.depths([queue]).get(queue)
    if depth is None:
        raise QueueNotFound(f"queue {queue!r} does not exist on this broker, or is empty")
    return depth.ready or 0


def chosen(broker: Broker, queue: str, selection: Selection) -> list[Message]:
    """Return the letters that are meant, without claiming them."""
    waiting = ready_letters(broker, queue)
    return [message for message in broker.peek(queue, waiting) if selection.takes(message)] if waiting else []


def settle_letters(broker: Broker, queue: str, selection: Selection, replacement: Replacement, what: str) -> int:
    """Settle the letters that are meant, each after its replacement was sent; return how many."""
    total = ready_letters(broker, queue)
    consumer = broker.consumer(Owner(f"letters.{os.getpid()}.{uuid.uuid4().hex[:8]}", 0), [queue])
    seen = settled = 0
    others = []
    try:
        with click.progressbar(length=total, label=what, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            while seen < total and (claims := consumer.claim(min(BATCH, total - seen), 1.0)):
                for claim in claims:
                    if selection.takes(claim.message):
                        consumer.settle(Settlement(claim, replacement(claim.message)))
                        settled += 1
                    else:
                        others.append(claim)
                seen += len(claims)
                consumer.flush()
                bar.update(len(claims))
        for claim in reversed(others):  # the first one last, so that it is at the front again
            consumer.settle(Settlement(claim, give_back=True))
    finally:
        consumer.close()
    return settled
