"""Names bound to arguments, and how long a message waits for a lock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.admission import Drop, Fail, Postpone
from longshore.core.locks import (
    LONGEST_NAME,
    LockPolicy,
    Waiting,
    bound_name,
    check_template,
    delay_for_lock,
    lock_policy,
)
from longshore.core.refusal import refuse
from longshore.exceptions import ImproperlyConfigured
from longshore.message import WAITING_HEADER, Message
from longshore.policy import DeadLetterPolicy
from tests.core.test_settle import NOW


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("report:{data_id}", "report:7"),
        ("{a}-{data_id!r:>4}", "x-   7"),
        ("{order[id]}", "9"),
        ("fixed", "fixed"),
        (lambda data_id, **_: f"by-function:{data_id}", "by-function:7"),
    ],
)
def test_a_name_takes_the_arguments_by_their_names(template, name):
    assert bound_name(template, {"data_id": 7, "a": "x", "order": {"id": 9}}) == name


def test_a_long_name_is_cut_and_stays_different():
    names = {bound_name("{text}", {"text": "x" * 1000 + end}) for end in "ab"}
    assert len(names) == 2
    assert max(map(len, names)) <= LONGEST_NAME


@pytest.mark.parametrize("template", ["report:{data}", "{}", "{0}", "{data_id", "{other.attribute}"])
def test_a_template_that_cannot_work_is_told_when_the_task_is_made(template):
    with pytest.raises(ImproperlyConfigured, match="lock="):
        check_template(template, "lock", "shop.report", {"data_id": None})


@pytest.mark.parametrize(
    "options",
    [("report", 0, None), ("report", -1, None), ("report", 10, -1), (7, 10, None)],
)
def test_options_that_make_no_sense(options):
    with pytest.raises(ImproperlyConfigured, match="task t: lock"):
        lock_policy("t", *options)


def test_no_lock_and_the_whole_tasks_lock():
    assert lock_policy("t", None, 30, None) is None
    assert lock_policy("t", True, 30, None) == LockPolicy("t", 30.0, None)


POLICY = LockPolicy("report", 30.0, None)
TIMES = st.floats(0, 1e6)


@given(waited=TIMES, free_in=st.floats(0.001, 1e6), draw=st.floats(0, 1, exclude_max=True))
def test_who_waits_asks_again_soon_but_not_all_the_time(waited, free_in, draw):
    delay = delay_for_lock(Waiting(0.0), POLICY, waited, free_in, draw)
    assert 0.05 <= delay <= max(6.25, 0.05)
    assert delay <= max(free_in, 0.05), "not long after the holder's time is over"


@given(waited=TIMES, blocking=TIMES, draw=st.floats(0, 1, exclude_max=True))
def test_it_fails_when_it_has_waited_long_enough_and_not_before(waited, blocking, draw):
    delay = delay_for_lock(Waiting(0.0), LockPolicy("report", 30.0, blocking), waited, 30.0, draw)
    assert (delay is None) == (waited >= blocking)
    if delay is not None:
        assert waited + delay <= blocking + 1e-6, "the last question comes at the end of the time"


@pytest.mark.parametrize("header", [None, "garbage", {}, {"v": 1, "since": 5.0, "times": 2, "turn": None}])
def test_the_header_is_read_back(header):
    waiting = Waiting.of(header, 7.0)
    assert waiting.since in {5.0, 7.0}
    again = Waiting.of(waiting.again(turn=9.0), 100.0)
    assert (again.since, again.times, again.turn) == (waiting.since, waiting.times + 1, 9.0)


MESSAGE = Message(b"[[], {}, {}]", {"task": "t", "id": "a"}, {})


def refused(refusal, *, keep=False):
    return refuse(refusal, MESSAGE, "q", dead=DeadLetterPolicy("q.dead", 5, keep), deliveries=0, now=NOW)


def test_a_postponed_message_waits_in_its_queue_with_its_header():
    verdict = refused(Postpone(12.0, {"v": 1}, "held"))
    [send] = verdict.sends
    assert (send.queue, send.due_at, send.message.headers[WAITING_HEADER]) == ("q", 12.0, {"v": 1})
    assert send.message.body == MESSAGE.body
    assert verdict.state is None


def test_a_copy_goes_without_a_trace():
    verdict = refused(Drop())
    assert (verdict.sends, verdict.state, verdict.give_back) == ((), None, False)


@pytest.mark.parametrize("keep", [True, False])
def test_a_failed_wait_is_a_failure_and_a_dead_letter_where_those_are_kept(keep):
    verdict = refused(Fail("LockNotAcquired", "held for 3 s"), keep=keep)
    assert verdict.state.status == "FAILURE"
    assert verdict.state.result["exc_message"] == ["held for 3 s"]
    assert [send.queue for send in verdict.sends] == (["q.dead"] if keep else [])
