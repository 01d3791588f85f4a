"""Redis: Celery's lists and envelope, claims as leases in keys of our own."""

from __future__ import annotations

from urllib.parse import urlsplit

from longshore.brokers.port import Broker
from longshore.brokers.redis.broker import RedisBroker
from longshore.brokers.schemes import CLUSTERS

__all__ = ["RedisBroker", "open"]


def open(url: str) -> Broker:  # noqa: A001 - the name that the registry asks every broker for
    """Return the broker for an address of Redis, Sentinel, Redis Cluster or Valkey, not yet connected."""
    if urlsplit(url).scheme.lower() not in CLUSTERS:
        return RedisBroker(url)
    from longshore.brokers.redis.cluster import ClusterBroker

    return ClusterBroker(url)
