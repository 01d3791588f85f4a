"""What an idle consumer asks the server every now and then: whether there is anything for it besides what it waits for.

Plain commands, at a small part of what a claim costs: many waiters of one server are idle most of the time. Other
priority steps, further queues and delayed messages are seen so. Knows keys; whether a delayed message is due only the
claim script decides, by the server's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from longshore.brokers.redis.address import Address
from longshore.brokers.redis.connection import Reply, pack
from longshore.brokers.redis.keys import LANES, lane_list, own

_CLAIM_SHARE_OF_LEASE = 0.3
"""A claim renews the lease, also where a blocking wait cannot."""


class Glance:
    """The question, and what the answer was the last time."""

    def __init__(self, address: Address, queues: Sequence[str]) -> None:
        self.replies = 2 * len(queues)
        self.question = b"".join(_exists(queue, clustered=address.is_cluster) + _first_due(queue) for queue in queues)
        self._claim_seconds = address.lease_seconds * _CLAIM_SHARE_OF_LEASE
        self._claimed_at = self._due_at = 0.0
        self._heads: list[Reply] = []

    def claimed(self, due_in: float) -> None:
        """Note that a claim has found nothing, and in how many seconds the next message is due; below 0 for none."""
        self._claimed_at = monotonic()
        self._due_at = self._claimed_at + due_in if due_in >= 0 else float("inf")

    def due_in(self) -> float:
        """Return the seconds until a claim is needed all the same."""
        return min(self._due_at, self._claimed_at + self._claim_seconds) - monotonic()

    def shows_work(self, replies: Sequence[Reply]) -> bool:
        """Whether a claim may find something; an error among the answers is for the claim to tell."""
        heads = list(replies[1::2])
        changed, self._heads = heads != self._heads, heads
        return changed or any(replies[::2]) or self.due_in() <= 0


def _exists(queue: str, *, clustered: bool) -> bytes:
    return pack("EXISTS", own(queue, "alone"), *(lane_list(queue, step, clustered) for step in LANES))


def _first_due(queue: str) -> bytes:
    return pack("ZRANGE", own(queue, "delayed"), 0, 0, "WITHSCORES")
