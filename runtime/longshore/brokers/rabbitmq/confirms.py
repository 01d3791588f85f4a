"""Which publishes the broker has taken, refused or returned: the book-keeping of one confirming channel.

Pure: it is told of acks, nacks and returns and knows no socket. RabbitMQ returns a message that found no queue before
it confirms it, so that a confirmed message whose routing key was returned is known to be nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class Fate(Enum):
    """What became of one publish."""

    UNKNOWN = "unknown"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    RETURNED = "returned"


class Confirms:
    """The publishes of a channel by their sequence number, from 1 as the broker counts."""

    def __init__(self) -> None:
        self._next = 1
        self._waiting: dict[int, tuple[str, str]] = {}
        self._fates: dict[int, Fate] = {}
        self._returned: set[tuple[str, str]] = set()

    def published(self, exchange: str, routing_key: str) -> int:
        """Note one publish and return its number."""
        number = self._next
        self._next += 1
        self._waiting[number] = (exchange, routing_key)
        return number

    def returned(self, exchange: str, routing_key: str) -> None:
        """Note that a message was returned; its confirm follows."""
        self._returned.add((exchange, routing_key))

    def answered(self, number: int, *, multiple: bool, accepted: bool) -> None:
        """Note a confirm, for one publish or for all up to it."""
        for each in self._up_to(number) if multiple else (number,):
            target = self._waiting.pop(each, None)
            if target is None:
                continue
            if target in self._returned:
                self._fates[each] = Fate.RETURNED
            else:
                self._fates[each] = Fate.CONFIRMED if accepted else Fate.REFUSED

    def waiting(self, numbers: Iterable[int]) -> bool:
        """Whether any of these publishes is unanswered."""
        return any(number in self._waiting for number in numbers)

    def take(self, numbers: Iterable[int]) -> list[Fate]:
        """Return what became of these publishes and forget them; an unanswered one stays noted."""
        fates = [self._fates.pop(number, Fate.UNKNOWN) for number in numbers]
        if not self._waiting:
            self._returned.clear()
        return fates

    def _up_to(self, number: int) -> list[int]:
        found: list[int] = []
        for each in self._waiting:
            if each > number:
                break
            found.append(each)
        return found
