"""The store on Redis: marks that expire by the server's clock, decided in one script."""

from __future__ import annotations

from longshore.brokers.redis.errors import backend_error
from longshore.brokers.redis.server import Server


def open(url: str) -> RedisStore:  # noqa: A001 - the name that the registry asks every store for
    """Return the store for a ``redis://`` or ``rediss://`` address, not yet connected."""
    return RedisStore(url)


class RedisStore:
    """The port's `Store`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._server = Server(url, backend_error)

    def claim_once(self, key: str, holder: str, *, expires: float) -> bool:
        """Set the mark unless it is set; asking again as the same holder is still true."""
        milliseconds = max(int(expires * 1000), 1)
        return bool(self._server.run("claim_once", f"longshore:1:store:{key}", holder, milliseconds))

    def close(self) -> None:
        """Close this process's connections."""
        self._server.close()
