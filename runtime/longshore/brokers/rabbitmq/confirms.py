"""Which publishes the broker has taken, refused or returned: the book-keeping of one confirming channel.

Pure: it is told of acks, nacks and returns and knows no socket. RabbitMQ returns a message that found no queue before
it confirms it, so that a confirmed message whose routing key was returned is known to be nowhere.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Generic, TypeVar

Publish = TypeVar("Publish")


class Fate(Enum):
    """What became of one publish."""

    UNKNOWN = "unknown"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    RETURNED = "returned"


class Confirms(Generic[Publish]):
    """The publishes of a channel by their sequence number, from 1 as the broker counts."""

    def __init__(self) -> None:
        self._last = 0
        self._waiting: dict[int, tuple[str, str, Publish]] = {}
        self._returned: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def published(self, exchange: str, routing_key: str, publish: Publish) -> None:
        """Note one publish."""
        self._last += 1
        self._waiting[self._last] = (exchange, routing_key, publish)

    def returned(self, exchange: str, routing_key: str) -> None:
        """Note that a message was returned; its confirm follows."""
        self._returned[exchange, routing_key] += 1

    def answered(self, number: int, *, multiple: bool, accepted: bool) -> list[tuple[Publish, Fate]]:
        """Return what is known by a confirm, for one publish or for all up to it."""
        found: list[tuple[Publish, Fate]] = []
        for each in self._up_to(number) if multiple else (number,):
            waiting = self._waiting.pop(each, None)
            if waiting is not None:
                exchange, routing_key, publish = waiting
                found.append((publish, self._fate(exchange, routing_key, accepted=accepted)))
        return found

    def _fate(self, exchange: str, routing_key: str, *, accepted: bool) -> Fate:
        if self._returned and self._returned[exchange, routing_key] > 0:
            self._returned[exchange, routing_key] -= 1
            return Fate.RETURNED
        return Fate.CONFIRMED if accepted else Fate.REFUSED

    def _up_to(self, number: int) -> list[int]:
        found: list[int] = []
        for each in self._waiting:
            if each > number:
                break
            found.append(each)
        return found
