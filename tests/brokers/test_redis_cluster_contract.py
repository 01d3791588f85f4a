"""The broker on a Redis Cluster keeps every promise of the port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from longshore.brokers.port import Broker
from longshore.brokers.registry import open_broker
from tests.support.topologies import Cluster

from .contract import BrokerContract, Connect

pytestmark = pytest.mark.integration


class TestRedisClusterBroker(BrokerContract):
    @pytest.fixture
    def connect(self, redis_cluster: Cluster) -> Iterator[Connect]:
        brokers: list[Broker] = []
        redis_cluster.empty()

        def connect() -> Broker:
            brokers.append(open_broker(redis_cluster.url()))
            return brokers[-1]

        yield connect
        for broker in brokers:
            broker.close()
