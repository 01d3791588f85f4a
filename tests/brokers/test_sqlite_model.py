"""The embedded broker under hypothesis: no order of events loses or doubles a message."""

from __future__ import annotations

from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, settings

from longshore.brokers.port import Broker
from longshore.brokers.registry import open_broker

from .model import BrokerModel


class SQLiteModel(BrokerModel):
    def connect(self) -> Broker:
        self.folder = TemporaryDirectory()
        return open_broker(f"sqlite:///{self.folder.name}/tasks.db")

    def disconnect(self) -> None:
        self.folder.cleanup()


TestSQLiteModel = SQLiteModel.TestCase
TestSQLiteModel.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
