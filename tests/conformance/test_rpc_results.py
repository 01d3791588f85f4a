"""Results as messages between the fleets: each client gets the other's answers."""

from __future__ import annotations

import uuid

import pytest

from longshore.brokers.port import QueueSpec
from tests.conformance.fleet import Fleet

pytestmark = [pytest.mark.parity("G5"), pytest.mark.integration]


@pytest.fixture
def fleet(celery, broker_url, tmp_path):
    fleet = Fleet(celery, broker_url, "rpc://", tmp_path, f"fleet-{uuid.uuid4().hex[:8]}")
    fleet.longshore.broker.declare([QueueSpec(fleet.queue)])
    yield fleet
    fleet.longshore.close()


def test_our_worker_answers_a_celery_client(fleet):
    with fleet.longshore_worker():
        code = """
        results = [app.signature("fleet.add", (n, 2)).delay() for n in range(3)]
        failed = app.signature("fleet.fail", ("no",)).delay()
        return [one.get(timeout=20) for one in results] + [repr(failed.get(timeout=20, propagate=False))]
        """
        assert fleet.celery_client(code) == [2, 3, 4, "ValueError('no')"]


def test_celerys_worker_answers_our_client(fleet):
    with fleet.celery_worker():
        sent = [fleet.longshore.send_task("fleet.add", [n, 2]) for n in range(3)]
        failed = fleet.longshore.send_task("fleet.fail", ["no"])
        assert [one.get(timeout=20) for one in sent] == [2, 3, 4]
        with pytest.raises(ValueError, match="no"):
            failed.get(timeout=20)
