"""Fixtures: an environment for each version of Celery, both brokers, and the two fleets on them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from longshore.brokers.port import QueueSpec
from tests.conformance import environments
from tests.conformance.fleet import Fleet


@pytest.fixture(scope="session", params=environments.VERSIONS)
def celery(request: pytest.FixtureRequest) -> Path:
    """The environment of one version of Celery."""
    try:
        return environments.environment(request.param)
    except environments.NotBuilt as reason:
        pytest.skip(f"{request.param} cannot be installed here: {reason}")


@pytest.fixture(params=["redis", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty Redis, or of RabbitMQ; skipped where it is not installed."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def results_url(redis_url: str) -> str:
    """Results on Redis, whichever broker carries the messages."""
    return redis_url.replace("/0", "/1")


@pytest.fixture
def fleet(celery: Path, broker_url: str, results_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """Both fleets on one queue of a broker."""
    fleet = Fleet(celery, broker_url, results_url, tmp_path, f"fleet-{uuid.uuid4().hex[:8]}")
    fleet.longshore.broker.declare([QueueSpec(fleet.queue)])
    yield fleet
    fleet.longshore.close()


@pytest.fixture(scope="session")
def count() -> int:
    """How many messages a mixed fleet gets: 10,000 are promised (LONGSHORE_CONFORMANCE_MESSAGES)."""
    return int(os.environ.get("LONGSHORE_CONFORMANCE_MESSAGES", "1000"))
