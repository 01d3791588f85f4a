"""Leaving a queue to Celery alone: what a broker says that keeps something of ours apart.

A broker whose queues hold everything (RabbitMQ: claims belong to connections, delays come back by themselves) has
nothing to hand back and does not implement this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class HandedBack:
    """How many messages of a queue went back into Celery's lists."""

    queue: str
    leased: int
    """Held by workers that are gone; with force also by live ones."""
    suspects: int
    """Given back by a worker that died, to be claimed alone."""
    delayed: int
    """Waiting for their time; a Celery worker holds them until then."""


@runtime_checkable
class HandsBack(Protocol):
    """A broker that can hand a queue back."""

    def handback(self, queue: str, *, force: bool = False) -> HandedBack:
        """Put everything of a queue where Celery looks for it.

        Refused with `HandbackRefused` while Longshore workers live on it; with `force` what they run goes back too and
        will run a second time. Dying at any moment and starting again is harmless.
        """
