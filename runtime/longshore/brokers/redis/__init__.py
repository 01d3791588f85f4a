"""Redis: Celery's lists and envelope, claims as leases in keys of our own."""

from __future__ import annotations

from longshore.brokers.redis.broker import RedisBroker

__all__ = ["RedisBroker", "open"]


def open(url: str) -> RedisBroker:  # noqa: A001 - the name that the registry asks every broker for
    """Return the broker for a ``redis://`` or ``rediss://`` address, not yet connected."""
    return RedisBroker(url)
