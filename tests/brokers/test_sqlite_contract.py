"""The embedded broker keeps every promise of the port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from longshore.brokers.port import Broker
from longshore.brokers.registry import open_broker

from .contract import BrokerContract, Connect


class TestSQLiteBroker(BrokerContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Iterator[Connect]:
        brokers: list[Broker] = []

        def connect() -> Broker:
            brokers.append(open_broker(f"sqlite:///{tmp_path}/tasks.db"))
            return brokers[-1]

        yield connect
        for broker in brokers:
            broker.close()
