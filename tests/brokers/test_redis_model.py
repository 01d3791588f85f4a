"""The Redis broker under hypothesis: no order of events loses or doubles a message."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from longshore.brokers.port import Broker
from longshore.brokers.registry import open_broker

from .model import BrokerModel

pytestmark = pytest.mark.integration


class RedisModel(BrokerModel):
    url: str

    def connect(self) -> Broker:
        return open_broker(self.url)


class TestRedisModel(RedisModel.TestCase):
    settings = settings(max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))

    @pytest.fixture(autouse=True)
    def server(self, redis_url: str) -> None:
        RedisModel.url = redis_url
