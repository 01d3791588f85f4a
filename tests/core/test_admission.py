"""What a worker does with a message before it runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.admission import PARK_GRACE_SECONDS, Bury, Doomed, Expired, Park, Revoked, Run, Wait, admit
from longshore.core.protocol import build_message, parse_call
from longshore.core.sentences import Terminated, TimeLimitReached, WorkerLost, dump_sentence
from longshore.message import PARKED_HEADER, SENTENCE_HEADER
from longshore.policy import DeadLetterPolicy

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = DeadLetterPolicy("orders.dead", max_deliveries=5)


def call(name="known", **options):
    return parse_call(build_message(name, task_id="t1", **options))


def decide(a_call, deliveries=0, now=NOW):
    return admit(a_call, deliveries, {"known"}, POLICY, now)


def test_a_known_task_runs():
    assert decide(call()) == Run()


@pytest.mark.parametrize(("deliveries", "runs"), [(0, True), (4, True), (5, False), (6, False)])
def test_started_executions_are_limited(deliveries, runs):
    decision = decide(call(), deliveries)
    assert isinstance(decision, Run if runs else Bury)


def test_an_eta_in_the_future_waits_in_the_broker_and_one_in_the_past_runs():
    later = NOW + timedelta(seconds=9)
    assert decide(call(eta=later)) == Wait(later.timestamp())
    assert decide(call(eta=NOW - timedelta(seconds=1))) == Run()


def test_an_expired_task_is_revoked_even_before_its_eta():
    assert decide(call(expires=NOW, eta=NOW + timedelta(days=1))) == Expired()


def test_an_unknown_task_is_parked_ever_longer_and_buried_after_its_grace():
    first = decide(call("new"))
    assert isinstance(first, Park)
    assert first.due_at == NOW.timestamp() + 1
    parked = call("new", headers={PARKED_HEADER: {"v": 1, "since": NOW.timestamp(), "times": 20}})
    assert decide(parked).due_at == NOW.timestamp() + 60
    much_later = NOW + timedelta(seconds=PARK_GRACE_SECONDS + 1)
    assert isinstance(decide(parked, now=much_later), Bury)


def test_a_part_of_a_chord_needs_a_worker_that_can_join():
    one = call(embed={"chord": {"task": "body"}})
    assert isinstance(decide(one), Run)
    refused = admit(one, 0, {"known"}, POLICY, NOW, can_join=False)
    assert isinstance(refused, Bury)
    assert refused.reason == "NoResultBackend"


@given(st.dictionaries(st.text(max_size=5), st.none() | st.integers(0, 10), max_size=3))
def test_a_parked_header_of_any_shape_never_drops_the_task(header):
    parked = {**header, "since": NOW.timestamp()}
    assert isinstance(decide(call("new", headers={PARKED_HEADER: parked})), Park)


def test_a_revoked_task_does_not_run_nor_wait_for_its_eta():
    waiting = call(eta=NOW + timedelta(days=1))
    assert admit(waiting, 0, {"known"}, POLICY, NOW, revoked=True) == Revoked()
    assert admit(call(expires=NOW), 0, {"known"}, POLICY, NOW, revoked=True) == Expired()


@pytest.mark.parametrize(
    ("sentence", "exception"),
    [(TimeLimitReached(1.5), "TimeLimitExceeded"), (WorkerLost("it died"), "WorkerLostError")],
)
def test_a_sentenced_task_fails_instead_of_running_again_however_often_it_was_started(sentence, exception):
    sentenced = call(headers={SENTENCE_HEADER: dump_sentence(sentence)})
    decision = decide(sentenced, deliveries=99)
    assert isinstance(decision, Doomed)
    assert (decision.failure.type, decision.failure.module) == (exception, "celery.exceptions")


def test_a_terminated_task_is_revoked():
    sentenced = call(headers={SENTENCE_HEADER: dump_sentence(Terminated("SIGKILL"))})
    assert decide(sentenced, deliveries=1) == Revoked("terminated", "SIGKILL")


@pytest.mark.parametrize("text", ["", "{}", '{"kind": "of a later version"}', 7, "\ud800", None])
def test_what_nobody_can_read_is_no_sentence_and_the_task_runs(text):
    assert decide(call(headers={SENTENCE_HEADER: text})) == Run()
