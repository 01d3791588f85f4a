"""A small part of the chaos suite, by the same code as `make chaos`; and proof that it finds what goes wrong."""

from __future__ import annotations

import random

import pytest

from tests.chaos.plan import SCENARIOS, run
from tests.chaos.stage import Servers, Stage
from tests.chaos.verdicts import judge_early, judge_late

SEED = 20261121

CASES = [
    pytest.param(
        scenario,
        broker,
        id=f"{scenario.name}-{broker}",
        marks=() if broker == "sqlite" else pytest.mark.integration,
    )
    for broker in ("sqlite", "redis", "rabbitmq", "quorum")
    for scenario in SCENARIOS.values()
    if broker in scenario.ci_brokers
]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with Servers(tmp_path_factory.mktemp("chaos")) as servers:
        yield servers


@pytest.fixture
def stage(servers):
    with Stage(servers, "sqlite", random.Random(SEED)) as stage:
        yield stage


@pytest.mark.parity("A2", "A5", "C3", "C7", "F1", "F2", "F3")
@pytest.mark.parametrize(("scenario", "broker"), CASES)
def test_what_is_promised_holds(scenario, broker, servers):
    if reason := Servers.missing(broker):
        pytest.skip(reason)
    row = run(scenario, broker, scenario.ci, SEED, servers, short=True)
    assert row.outcome.tasks > 0
    assert not row.outcome.findings


# -- that it can fail --------------------------------------------------------------------------------------------------


def test_a_message_that_vanishes_from_the_queue_is_found(stage):
    stage.send("quick", 10)
    assert stage.app.broker.purge(stage.queue) == 10
    kept = stage.send("quick", 10)
    crew = stage.worker()
    assert stage.all_ended(kept)
    stage.finish(crew)
    assert judge_late(stage.sent, stage.journal.marks, []).lost == 10


def test_a_message_that_is_there_twice_is_found(stage):
    numbers = stage.send("quick", 10)
    stage.app.send_many([("chaos.quick", (numbers[3],))], queue=stage.queue)
    crew = stage.worker()
    assert stage.all_ended(numbers)
    stage.finish(crew)
    for judge in (judge_late, judge_early):
        verdict = judge(stage.sent, stage.journal.marks, [])
        assert verdict.duplicates == 1
        assert len(verdict.findings) == 1


def test_what_stays_behind_in_the_queue_is_found(stage):
    stage.send("quick", 1, countdown=3600)
    assert not stage.settled(seconds=0.1)
    assert "left behind" in stage.findings[0]
