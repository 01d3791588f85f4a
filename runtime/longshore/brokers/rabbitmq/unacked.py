"""What a channel has delivered and we have not acknowledged, in order; and the fewest frames to acknowledge it.

Pure. RabbitMQ acknowledges "all up to this tag" in one frame: the settled deliveries at the old end need one frame
together, those behind an unsettled one need a frame each.
"""

from __future__ import annotations

from collections import deque


class Unacked:
    """Delivery tags of one channel, oldest first."""

    __slots__ = ("_done", "_order")

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._done: set[int] = set()

    def __len__(self) -> int:
        return len(self._order)

    def older_than(self, tag: int) -> int:
        """Return how many are held from before a tag."""
        count = 0
        for each in self._order:
            if each >= tag:
                break
            count += 1
        return count

    def delivered(self, tag: int) -> None:
        """Note a delivery; tags only grow."""
        self._order.append(tag)

    def settled(self, tag: int) -> None:
        """Note that a delivery is done with; `take` will say how to acknowledge it."""
        self._done.add(tag)

    def given_back(self, tag: int) -> None:
        """Note that a delivery went back to the broker by itself."""
        self._order.remove(tag)

    def take(self) -> list[tuple[int, bool]]:
        """Return the acknowledgements that are due, as (tag, multiple), and count them as made."""
        if not self._done:
            return []
        acks: list[tuple[int, bool]] = []
        last = self._take_prefix()
        if last is not None:
            acks.append((last, True))
        if self._done:
            acks += [(tag, False) for tag in self._order if tag in self._done]
            self._order = deque(tag for tag in self._order if tag not in self._done)
            self._done.clear()
        return acks

    def _take_prefix(self) -> int | None:
        last = None
        while self._order and self._order[0] in self._done:
            last = self._order.popleft()
            self._done.discard(last)
        return last
