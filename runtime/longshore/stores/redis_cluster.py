"""The store on a Redis Cluster: its keys are spread over some hash tags, each of which is at one node.

Every decision is about keys of one tag, and one script; marks of a kind are together. Knows the store of a single node.
"""

from __future__ import annotations

from collections.abc import Sequence

from longshore.brokers.redis.topology import tag_of
from longshore.core.ratelimit import Rate, Turn
from longshore.stores.port import Marks
from longshore.stores.redis import RedisStore


class ClusterStore:
    """The port's `Store`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._parts: dict[str, RedisStore] = {}

    def _at(self, tag: str) -> RedisStore:
        return self._parts.get(tag) or self._parts.setdefault(tag, RedisStore(self.url, tag))

    def _of(self, key: str) -> RedisStore:
        return self._at(tag_of("store", key))

    def _of_kind(self, kind: str) -> RedisStore:
        return self._at(f"{{marks:{kind}}}")

    def claim_once(self, key: str, holder: str, *, expires: float) -> bool:
        """Set the mark unless it is set."""
        return self._of(key).claim_once(key, holder, expires=expires)

    def acquire(self, name: str, holder: str, *, expires: float) -> float:
        """Take the lock, or say when it is free."""
        return self._of(name).acquire(name, holder, expires=expires)

    def renew(self, name: str, holder: str, *, expires: float) -> bool:
        """Prolong the lock."""
        return self._of(name).renew(name, holder, expires=expires)

    def release(self, name: str, holder: str) -> bool:
        """Free the lock."""
        return self._of(name).release(name, holder)

    def take(self, key: str, rate: Rate, *, count: int = 1, horizon: float = 0.0) -> Turn:
        """Take turns, or say when the next one is."""
        return self._of(key).take(key, rate, count=count, horizon=horizon)

    def mark(self, kind: str, ids: Sequence[str], *, expires: float) -> None:
        """Set marks."""
        self._of_kind(kind).mark(kind, ids, expires=expires)

    def marked(self, kind: str, since: int = 0) -> Marks:
        """Return the newer marks."""
        return self._of_kind(kind).marked(kind, since)

    def unmark(self, kind: str, ids: Sequence[str]) -> None:
        """Remove marks."""
        self._of_kind(kind).unmark(kind, ids)

    def count(self, key: str, member: str, *, expires: float) -> int:
        """Add a member and count."""
        return self._of(key).count(key, member, expires=expires)

    def close(self) -> None:
        """Close this process's connections."""
        for part in list(self._parts.values()):
            part.close()
