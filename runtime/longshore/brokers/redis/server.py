"""Whether a server is fit to keep messages: old enough to know the commands, and never one to evict them."""

from __future__ import annotations

from longshore.brokers.redis.address import Address
from longshore.brokers.redis.connection import Reply, ReplyError
from longshore.exceptions import BrokerRefused

_OLDEST = (6, 2)


def check(replies: list[Reply], address: Address) -> None:
    """Judge the answers to ``INFO server`` and ``INFO memory``; a user who may not ask is trusted."""
    facts = dict(line.split(":", 1) for reply in replies for line in _lines(reply))
    version = facts.get("redis_version", "")
    if version and tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise BrokerRefused(f"Redis at {address.shown} is version {version}; 6.2 or newer is needed")
    if facts.get("redis_mode") == "cluster":
        raise BrokerRefused(f"Redis at {address.shown} is a Redis Cluster, which is not supported")
    policy = facts.get("maxmemory_policy", "")
    if policy.startswith("allkeys"):
        raise BrokerRefused(
            f"Redis at {address.shown} has maxmemory-policy {policy}, which would drop tasks when memory is short; "
            "set it to noeviction"
        )


def _lines(reply: Reply) -> list[str]:
    if isinstance(reply, ReplyError) or not isinstance(reply, bytes):
        return []
    return [line for line in reply.decode(errors="replace").splitlines() if ":" in line]
