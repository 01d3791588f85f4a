"""A server as its callers see it: scripts and commands with a deadline, errors of the port, and whether it is fit.

Fit means: new enough to know the commands, and never one to evict messages. Shared by the broker, the results and the
stores; each says which error its port wants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any

from longshore.brokers.redis.address import Address, parse
from longshore.brokers.redis.connection import ConnectFailed, ConnectionBroken, Reply, ReplyError, pack
from longshore.brokers.redis.errors import Trouble
from longshore.brokers.redis.pool import Pool
from longshore.brokers.redis.scripts import is_unknown, script
from longshore.exceptions import BrokerRefused

DEADLINE = 5.0
_OLDEST = (6, 2)


class Server:
    """Calls to one server from any thread; `explain` turns trouble into the caller's error."""

    def __init__(self, url: str, explain: Callable[[Trouble, Address], Exception], pinned: str | None = None) -> None:
        self.address = replace(parse(url), pinned=pinned)
        self.pool = Pool(self.address)
        self._explain = explain
        self._checked = False

    def run(self, name: str, *arguments: Any) -> Reply:
        """Run a script and return its answer."""
        called = script(name, self.address.is_cluster)
        data = called.call(*arguments)
        reply = self._replies(data, 1)[0]
        if is_unknown(reply):
            reply = self._replies(called.load() + data, 2)[1]
        return self._sound(reply)

    def call(self, data: bytes, replies: int = 1) -> list[Reply]:
        """Send packed commands and return their replies; the first error among them is raised."""
        return [self._sound(reply) for reply in self._replies(data, replies)]

    def check(self) -> None:
        """Raise `BrokerRefused` when messages are not safe there; asks once."""
        if not self._checked:
            judge(self._replies(pack("INFO", "server") + pack("INFO", "memory"), 2), self.address)
            self._checked = True

    def close(self) -> None:
        """Close the idle connections of this process."""
        self.pool.close()

    def _replies(self, data: bytes, replies: int) -> list[Reply]:
        try:
            return self.pool.exchange(data, replies, monotonic() + DEADLINE)
        except (ConnectFailed, ConnectionBroken, ReplyError) as trouble:
            raise self._explain(trouble, self.address) from trouble

    def _sound(self, reply: Reply) -> Reply:
        if isinstance(reply, ReplyError):
            raise self._explain(reply, self.address)
        return reply


def judge(replies: list[Reply], address: Address) -> None:
    """Judge the answers to ``INFO server`` and ``INFO memory``; a user who may not ask is trusted."""
    facts = dict(line.split(":", 1) for reply in replies for line in _lines(reply))
    version = facts.get("redis_version", "")
    if version and tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise BrokerRefused(f"Redis at {address.shown} is version {version}; 6.2 or newer is needed")
    if facts.get("redis_mode") == "cluster" and not address.is_cluster:
        raise BrokerRefused(f"Redis at {address.shown} is a Redis Cluster: write redis+cluster:// in the address")
    policy = facts.get("maxmemory_policy", "")
    if policy.startswith("allkeys"):
        raise BrokerRefused(
            f"Redis at {address.shown} has maxmemory-policy {policy}, which would drop tasks when memory is short; "
            "set it to noeviction"
        )


def _lines(reply: Reply) -> list[str]:
    if not isinstance(reply, bytes):
        return []
    return [line for line in reply.decode(errors="replace").splitlines() if ":" in line]
