"""The broker on a Redis Cluster, and behind sentinels, keeps every promise of the port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from longshore.brokers.port import Broker
from longshore.brokers.registry import open_broker

from .contract import BrokerContract, Connect

pytestmark = pytest.mark.integration


def connecting(url: str) -> Iterator[Connect]:
    brokers: list[Broker] = []

    def connect() -> Broker:
        brokers.append(open_broker(url))
        return brokers[-1]

    yield connect
    for broker in brokers:
        broker.close()


class TestRedisClusterBroker(BrokerContract):
    @pytest.fixture
    def connect(self, redis_cluster_url: str) -> Iterator[Connect]:
        yield from connecting(redis_cluster_url)


class TestBrokerBehindSentinels(BrokerContract):
    @pytest.fixture
    def connect(self, sentinel_url: str) -> Iterator[Connect]:
        yield from connecting(sentinel_url)
