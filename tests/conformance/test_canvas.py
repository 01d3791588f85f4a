"""Canvases across both: clients and workers of Celery and of Longshore, in every pairing, and parts on both at once."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance import environments
from tests.conformance.fleet import APPS, Fleet
from tests.support.workers import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ALL = "return send_all()"
newest = pytest.mark.parametrize("celery", environments.VERSIONS[:1], indirect=True)


@pytest.fixture
def ours(fleet: Fleet, results_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The app of the canvases in this process, as a client of this fleet."""
    monkeypatch.setenv("FLEET", "longshore")
    monkeypatch.syspath_prepend(str(APPS))
    module = importlib.import_module("tests.conformance.apps.canvas")
    module.app.close()
    module.app.conf.update(broker_url=fleet.broker, result_backend=results_url, task_default_queue=fleet.queue)
    yield module
    module.app.close()


@newest
@pytest.mark.parity("D4", "G5")
def test_a_celery_client_gets_its_canvases_from_our_workers(fleet, ours):
    with fleet.longshore_worker(app="canvas"):
        assert fleet.celery_client(ALL, app="canvas") == ours.EXPECTED
        assert fleet.celery_client("return send_broken()", app="canvas") == ["ChordError", "ValueError"]
        assert fleet.wait_for_all(1, 20) == {1: ["longshore"]}


@newest
@pytest.mark.parity("D4", "G5")
def test_our_client_gets_its_canvases_from_celerys_workers(fleet, ours):
    with fleet.celery_worker(app="canvas"):
        assert ours.send_all() == ours.EXPECTED
        assert ours.send_broken() == ["ChordError", "ValueError"]
        assert fleet.wait_for_all(1, 20) == {1: ["celery"]}


@pytest.mark.parity("D4", "D6", "G5")
def test_the_parts_of_a_chord_run_on_both_and_its_body_once(fleet, ours):
    with fleet.longshore_worker(app="canvas"), fleet.celery_worker(app="canvas"):
        assert fleet.celery_client(ALL, app="canvas") == ours.send_all() == ours.EXPECTED
        expected = [sum(range(1, 7))] * 15
        assert fleet.celery_client("return send_chords(0, 15)", app="canvas") == expected
        assert ours.send_chords(15, 30) == expected
        ran = fleet.wait_for_all(30, 30)
        wait_for("an empty queue", lambda: not fleet.longshore.broker.depths([fleet.queue])[fleet.queue].ready, 20)
    assert set(ran) == set(range(30))
    assert {number: who for number, who in ran.items() if len(who) > 1} == {}
    assert {who for [who] in ran.values()} == {"celery", "longshore"}
