"""The store on Redis: every decision is one script, by the server's clock.

Keys: ``longshore:1:store:<key>``, ``longshore:1:lock:<name>``, ``longshore:1:rate:<key>``, ``longshore:1:count:<key>``,
and for marks ``longshore:1:{marks:<kind>}:set`` and ``…:expire``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from longshore.brokers.redis.errors import backend_error
from longshore.brokers.redis.server import Server
from longshore.brokers.schemes import CLUSTERS
from longshore.core.ratelimit import Rate, Turn
from longshore.stores.port import Marks, Store

_LONGEST_MICROSECONDS = 10**15
"""Redis expires nothing later than this; 30 years."""


def open(url: str) -> Store:  # noqa: A001 - the name that the registry asks every store for
    """Return the store for an address of Redis, not yet connected."""
    if urlsplit(url).scheme.lower() not in CLUSTERS:
        return RedisStore(url)
    from longshore.stores.redis_cluster import ClusterStore

    return ClusterStore(url)


class RedisStore:
    """The port's `Store`."""

    def __init__(self, url: str, tag: str = "") -> None:
        """In a cluster the store is one for a single node, that of the hash tag `tag`, which its keys have."""
        self.url = url
        self._prefix = f"longshore:1:{tag}:" if tag else "longshore:1:"
        self._server = Server(url, backend_error, pinned=self._prefix if tag else None)

    def claim_once(self, key: str, holder: str, *, expires: float) -> bool:
        """Set the mark unless it is set; asking again as the same holder is still true."""
        return bool(self._server.run("claim_once", f"{self._prefix}store:{key}", holder, _milliseconds(expires)))

    def acquire(self, name: str, holder: str, *, expires: float) -> float:
        """Take the lock, or say when it is free."""
        return self._lock("acquire", name, holder, expires) / 1000

    def renew(self, name: str, holder: str, *, expires: float) -> bool:
        """Prolong the lock."""
        return bool(self._lock("renew", name, holder, expires))

    def release(self, name: str, holder: str) -> bool:
        """Free the lock."""
        return bool(self._lock("release", name, holder, 0))

    def _lock(self, what: str, name: str, holder: str, expires: float) -> int:
        reply: Any = self._server.run("lock", what, f"{self._prefix}lock:{name}", holder, _milliseconds(expires))
        return int(reply)

    def take(self, key: str, rate: Rate, *, count: int = 1, horizon: float = 0.0) -> Turn:
        """Take turns, or say when the next one is."""
        reply: Any = self._server.run(
            "take", f"{self._prefix}rate:{key}", round(rate.interval * 1e6), count, round(horizon * 1e6)
        )
        return Turn(int(reply[0]) / 1e6, taken=bool(reply[1]))

    def mark(self, kind: str, ids: Sequence[str], *, expires: float) -> None:
        """Set marks."""
        if ids:
            self._server.run("marks", "add", kind, list(ids), min(round(expires * 1e6), _LONGEST_MICROSECONDS))

    def marked(self, kind: str, since: int = 0) -> Marks:
        """Return the newer marks."""
        reply: Any = self._server.run("marks", "read", kind, [], since)
        return Marks(int(reply[0]), [mark.decode() for mark in reply[1]])

    def unmark(self, kind: str, ids: Sequence[str]) -> None:
        """Remove marks."""
        if ids:
            self._server.run("marks", "remove", kind, list(ids), 0)

    def count(self, key: str, member: str, *, expires: float) -> int:
        """Add a member and count."""
        reply: Any = self._server.run("count", f"{self._prefix}count:{key}", member, max(math.ceil(expires), 1))
        return int(reply)

    def close(self) -> None:
        """Close this process's connections."""
        self._server.close()


def _milliseconds(seconds: float) -> int:
    return min(max(int(seconds * 1000), 1), _LONGEST_MICROSECONDS)
