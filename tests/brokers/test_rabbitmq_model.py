"""RabbitMQ under hypothesis: no order of events loses or doubles a message.

What the broker cannot tell is relaxed here: a message that was only pushed to a process counts as redelivered
afterwards, and the start of a redelivered message is counted when it is handed out.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from longshore.brokers.port import Broker, Claim, Started
from longshore.brokers.rabbitmq import RabbitMQBroker
from tests.support.rabbitmq import RabbitMQServer

from .model import SLOTS, BrokerModel

URL = "LONGSHORE_TEST_MODEL_RABBITMQ"


class RabbitMQModel(BrokerModel):
    def connect(self) -> Broker:
        return RabbitMQBroker(os.environ[URL])

    def disconnect(self) -> None:
        self.broker.close()
        for name in (*self.queues, self.dead):
            self.broker.delete_queue(name)
        self.broker.close()

    def purge(self) -> None:
        """Not a rule here: what was pushed to a consumer or waits in the ladder is not purged."""

    @rule(slot=st.sampled_from(SLOTS), index=st.integers(0, 3))
    def child_dies(self, slot: int, index: int) -> None:
        holder = self.holders[slot]
        holder.consumer.flush()
        started = list(holder.held)[index] if index < len(holder.held) else None
        self.broker.release_owner(holder.owner, self.queues, [Started(started)] if started else [])
        if holder.consumer._session.intake is not None:
            holder.consumer._session.intake.connection.close_socket()
        for key, claim in holder.held.items():
            self.returned(key, key == started or claim.token.notes is not None)
        self.holders[slot] = self.start(slot)

    def check(self, claim: Claim) -> str:
        key = str(claim.message.id)
        self.inside[key].redelivered = claim.redelivered or self.inside[key].redelivered
        return super().check(claim)


@pytest.fixture(autouse=True)
def _server(rabbitmq_server: RabbitMQServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, rabbitmq_server.url())


TestRabbitMQModel = RabbitMQModel.TestCase
TestRabbitMQModel.pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("_server")]
TestRabbitMQModel.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
