"""The Redis broker keeps every promise of the port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from longshore.brokers.port import Broker
from longshore.brokers.registry import open_broker

from .contract import BrokerContract, Connect

pytestmark = pytest.mark.integration


class TestRedisBroker(BrokerContract):
    @pytest.fixture
    def connect(self, redis_url: str) -> Iterator[Connect]:
        brokers: list[Broker] = []

        def connect() -> Broker:
            brokers.append(open_broker(redis_url))
            return brokers[-1]

        yield connect
        for broker in brokers:
            broker.close()
