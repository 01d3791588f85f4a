"""What happens with a message at the end of its run: a table of outcomes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.protocol import build_message, parse_call
from longshore.core.settle import (
    FAILURE,
    RETRY,
    SUCCESS,
    Failed,
    Failure,
    Ignored,
    Rejected,
    Retried,
    Succeeded,
    bury,
    exhume,
    next_try,
    settle,
)
from longshore.message import DEAD_HEADER, Message
from longshore.policy import AckPolicy, DeadLetterPolicy

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MESSAGE = build_message("shop.add", [1, 2], {"n": 3}, task_id="t1", headers={"x-tenant": "blue"})
BOOM = Failure("ValueError", "builtins", ["boom"], "boom", "Traceback …")
KEEP = DeadLetterPolicy("orders.dead", keep_failures=True)
DROP = DeadLetterPolicy("orders.dead", keep_failures=False)
LATE, EARLY = AckPolicy(late=True), AckPolicy(late=False)


def end(outcome, *, ack=LATE, dead=DROP):
    return settle(outcome, MESSAGE, "orders", ack=ack, dead=dead, deliveries=0, now=NOW)


def test_a_success_stores_its_value_and_removes_the_claim():
    verdict = end(Succeeded(7))
    assert (verdict.state.status, verdict.state.result) == (SUCCESS, 7)
    assert not verdict.sends
    assert not verdict.give_back


def test_ignore_records_nothing_and_removes_the_claim():
    verdict = end(Ignored())
    assert verdict.state is None
    assert not verdict.give_back


def test_a_retry_is_sent_before_the_claim_is_removed_and_stores_retry():
    again = next_try(MESSAGE, parse_call(MESSAGE), NOW)
    verdict = end(Retried(BOOM, again, "orders", 99.0))
    [send] = verdict.sends
    assert (send.queue, send.due_at, send.message.headers["retries"]) == ("orders", 99.0, 1)
    assert send.message.headers["id"] == "t1"
    assert verdict.state.status == RETRY


@pytest.mark.parametrize(
    ("ack", "dead", "kept"),
    [
        (LATE, DROP, False),
        (LATE, KEEP, True),
        (EARLY, KEEP, True),
        (AckPolicy(late=True, on_failure_or_timeout=False), DROP, True),
        (AckPolicy(late=False, on_failure_or_timeout=False), DROP, False),
    ],
)
def test_a_failure_is_kept_where_the_queue_or_the_task_says_so(ack, dead, kept):
    verdict = end(Failed(BOOM), ack=ack, dead=dead)
    assert bool(verdict.sends) is kept
    assert verdict.state.status == FAILURE
    assert verdict.state.result == {"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": "builtins"}


def test_a_rejected_message_goes_to_the_dead_letters_with_its_reason():
    [send] = end(Rejected("too large", requeue=False)).sends
    assert send.queue == "orders.dead"
    assert send.message.headers[DEAD_HEADER]["message"] == "too large"


def test_reject_with_requeue_gives_back_and_counts_but_early_ack_cannot_give_back():
    late = end(Rejected("busy", requeue=True))
    assert (late.give_back, late.counted) == (True, True)
    early = end(Rejected("busy", requeue=True), ack=EARLY)
    assert not early.give_back
    assert early.sends, "an early-acked message is gone from its queue: it must not vanish"


@given(st.text(), st.integers(0, 9), st.text(max_size=50))
def test_a_replayed_dead_letter_is_the_message_as_it_was(reason, deliveries, queue):
    letter = bury(MESSAGE, queue, "Why", reason, deliveries=deliveries, now=NOW, failure=BOOM)
    assert letter.headers[DEAD_HEADER]["deliveries"] == deliveries
    assert exhume(letter) == MESSAGE


def test_a_replayed_dead_letter_has_all_its_tries_again():
    tired = next_try(MESSAGE, parse_call(MESSAGE), NOW)
    assert tired.headers["retries"] == 1
    letter = bury(tired, "orders", "TaskFailed", "x", deliveries=0, now=NOW)
    assert exhume(letter) == MESSAGE


def test_the_next_try_keeps_custom_headers_and_drops_the_brokers_history():
    scarred = Message(MESSAGE.body, {**MESSAGE.headers, "x-death": [1], "x-delivery-count": 4}, MESSAGE.properties)
    again = next_try(scarred, parse_call(scarred), None)
    assert again.headers["x-tenant"] == "blue"
    assert not {"x-death", "x-delivery-count"} & set(again.headers)
