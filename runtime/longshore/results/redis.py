"""Results on Redis, in Celery's keys and bodies, so that Celery clients read ours and we read theirs.

Knows the server and the channels; keys and bodies are in `body.py`; knows nothing of tasks. Waiting subscribes first
and looks then, so that no result slips through between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from urllib.parse import urlsplit

from longshore.brokers.redis.connection import ConnectFailed, Connection, ConnectionBroken, pack
from longshore.brokers.redis.errors import backend_error
from longshore.brokers.redis.server import DEADLINE, Server
from longshore.brokers.schemes import CLUSTERS
from longshore.results.body import dump, key, load
from longshore.results.port import DEFAULT_EXPIRES_SECONDS, ResultBackend, ResultMeta
from longshore.results.redis_chords import RedisChords

_READY = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
_LOOK_SECONDS = 5.0
"""A subscription may be dead without a word; look by hand this often."""


def open(url: str) -> ResultBackend:  # noqa: A001 - the name that the registry asks every backend for
    """Return the backend for an address of Redis, not yet connected."""
    if urlsplit(url).scheme.lower() not in CLUSTERS:
        return RedisResults(url)
    from longshore.results.redis_cluster import ClusterResults

    return ClusterResults(url)


class RedisResults(RedisChords):
    """The port's `ResultBackend`."""

    def __init__(self, url: str, tag: str = "") -> None:
        """In a cluster the backend is one for a single node, that of the hash tag `tag`, which its keys have."""
        self.url = url
        self._tag = tag
        self._server = Server(url, backend_error, pinned=tag or None)

    def store(self, metas: Sequence[ResultMeta], *, expires: float | None = DEFAULT_EXPIRES_SECONDS) -> None:
        """Store states by one script and tell who waits."""
        if metas:
            entries = [(self._tag + key(meta.task_id), dump(meta)) for meta in metas]
            self._server.run("store_result", entries, max(int(expires * 1000), 1) if expires is not None else 0)

    def fetch(self, task_ids: Sequence[str]) -> list[ResultMeta | None]:
        """Return the states, in one round trip."""
        if not task_ids:
            return []
        [texts] = self._server.call(pack("MGET", *(self._tag + key(task_id) for task_id in task_ids)))
        return [
            load(text, task_id) if text is not None else None for text, task_id in zip(texts, task_ids, strict=True)
        ]

    def wait(self, task_id: str, timeout: float | None) -> ResultMeta | None:
        """Wait for a final state, woken by the server."""
        ends = None if timeout is None else monotonic() + timeout
        connection = Connection(self._server.address)
        try:
            while True:
                self._subscribe(connection, task_id)
                meta = self.fetch([task_id])[0]
                if meta is not None and meta.status in _READY:
                    return meta
                if ends is not None and monotonic() >= ends:
                    return None
                self._listen(connection, ends)
        finally:
            connection.close()

    def _subscribe(self, connection: Connection, task_id: str) -> None:
        if connection.is_open:
            return
        deadline = monotonic() + DEADLINE
        try:
            connection.open(deadline)
            connection.exchange(pack("SUBSCRIBE", self._tag + key(task_id)), 1, deadline)
        except ConnectFailed as trouble:
            raise backend_error(trouble, self._server.address) from trouble
        except ConnectionBroken:
            return  # the look that follows tries again, or says why not

    def _listen(self, connection: Connection, ends: float | None) -> None:
        """Wait for the next word on the channel, or for the time to look by hand."""
        until = monotonic() + _LOOK_SECONDS
        if connection.is_open:
            connection.await_input(until if ends is None else min(until, ends))
        if connection.is_open and connection.has_input():
            try:
                connection.receive(monotonic() + DEADLINE)
            except ConnectionBroken:
                connection.close()

    def forget(self, task_ids: Sequence[str]) -> None:
        """Remove the states."""
        if task_ids:
            self._server.call(pack("DEL", *(self._tag + key(task_id) for task_id in task_ids)))

    def close(self) -> None:
        """Close this process's connections."""
        self._server.close()
