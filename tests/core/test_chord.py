"""The join of a chord: a table, and every interleaving of parts, redeliveries and deaths hypothesis can think of."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshore.core.chord import (
    CLAIM_SECONDS,
    Over,
    Part,
    Progress,
    Taken,
    Waiting,
    Whole,
    chord_error_text,
    first_failure,
    in_order,
)


def part(index, value=None, task_id=None, status="SUCCESS"):
    return Part("g", task_id or f"t{index}", index, status, value)


def counted(progress, *parts, now=0.0):
    answers = []
    for one in parts:
        progress, answer = progress.count(one, now)
        answers.append(answer)
    return progress, answers


def test_the_last_part_makes_it_whole_and_the_values_are_in_the_order_of_the_header():
    _, answers = counted(Progress().start(3), part(2, "c"), part(0, "a"), part(1, "b"))
    assert answers[:2] == [Waiting(), Waiting()]
    assert [one.result for one in answers[2].parts] == ["a", "b", "c"]


@pytest.mark.parity("D6")
def test_a_part_that_comes_twice_counts_once_with_its_first_value():
    progress, answers = counted(Progress().start(2), part(0, "first"), part(0, "second"))
    assert answers == [Waiting(), Waiting()]
    _, [answer] = counted(progress, part(1))
    assert [one.result for one in answer.parts] == ["first", None]


def test_two_parts_of_one_index_are_two():
    _, answers = counted(Progress().start(2), part(0, task_id="a"), part(0, task_id="b"))
    assert isinstance(answers[1], Whole)


def test_parts_may_end_before_the_size_is_known():
    progress, answers = counted(Progress(), part(0), part(1))
    assert answers == [Waiting(), Waiting()]
    _, [answer] = counted(progress.start(2), part(1))
    assert isinstance(answer, Whole)


def test_a_chord_that_grew_waits_for_what_was_added():
    _, answers = counted(Progress().start(1).grow(1), part(0), part(0, task_id="more"))
    assert [type(answer) for answer in answers] == [Waiting, Whole]


@pytest.mark.parity("D6")
def test_only_the_claimant_dispatches_until_its_claim_expires_and_nobody_after_that_is_done():
    progress, _ = counted(Progress().start(2), part(0), part(1))
    progress, [again, other] = counted(progress, part(1), part(0))
    assert isinstance(again, Whole), "run again after a death: it goes on where it was"
    assert other == Taken()
    progress, [later] = counted(progress, part(0), now=CLAIM_SECONDS)
    assert isinstance(later, Whole)
    assert progress.finish(part(1).claimant) == progress, "whose claim was lost marks nothing"
    progress = progress.finish(part(0).claimant)
    assert counted(progress, part(0), part(1))[1] == [Over(), Over()]


def test_what_a_broken_chord_says():
    failed = part(1, {"exc_type": "ValueError", "exc_message": ["boom", 2], "exc_module": "builtins"}, status="FAILURE")
    assert first_failure([part(0), failed]) is failed
    assert first_failure([part(0)]) is None
    assert chord_error_text(failed) == "Dependency t1 raised ValueError('boom', 2)"
    assert chord_error_text(part(1, "odd", status="FAILURE")) == "Dependency t1 raised 'odd'"


def test_parts_without_an_index_come_last():
    assert [one.task_id for one in in_order([part(None, task_id="x"), part(1), part(0)])] == ["t0", "t1", "x"]


# -- interleavings ---------------------------------------------------------------------------------------------------


class Fleet:
    """Workers that run the parts of one chord. Each takes a message, counts its part, sends the body if that is its
    turn, marks it, settles; it may die between any two of these steps, and then the message comes again.
    """

    def __init__(self, size: int) -> None:
        self.progress = Progress().start(size)
        self.messages = list(range(size))
        self.running: list[list] = []
        self.rescues: list[int] = []
        self.sent: list[str] = []
        self.now = 0.0

    def take(self) -> None:
        if self.messages:
            self.running.append([self.messages.pop(0), "count"])

    def step(self, which: int) -> None:
        run = self.running[which % len(self.running)]
        index, stage = run
        match stage:
            case "count":
                self.progress, answer = self.progress.count(part(index, f"value {self.now}"), self.now)
                if answer == Taken():
                    self.rescues.append(index)
                run[1] = "send" if isinstance(answer, Whole) else "settle"
            case "send":
                self.sent.append(f"copy {len(self.sent)}")
                run[1] = "mark"
            case "mark":
                self.progress = self.progress.finish(part(index).claimant)
                run[1] = "settle"
            case "settle":
                self.running.remove(run)

    def die(self, which: int) -> None:
        index, _ = self.running.pop(which % len(self.running))
        self.messages.append(index)

    def rescue(self) -> None:
        """The delayed message of a part that met another's claim: it looks again when that has expired."""
        self.now += CLAIM_SECONDS
        self.messages += self.rescues
        self.rescues = []


@pytest.mark.parity("D6")
@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sampled_from(["take", "step", "step", "step", "die", "pass"]), st.integers(0, 9)), max_size=60
    ),
)
def test_whatever_dies_whenever_the_body_is_sent_and_a_second_copy_only_after_a_death(size, story):
    fleet, deaths = Fleet(size), 0
    for event, which in story:
        if event == "take":
            fleet.take()
        elif event == "pass":
            fleet.now += CLAIM_SECONDS / 2
        elif fleet.running and event == "die":
            fleet.die(which)
            deaths += 1
        elif fleet.running and event == "step":
            fleet.step(which)
    while fleet.messages or fleet.running or fleet.rescues:
        if not fleet.messages and not fleet.running:
            fleet.rescue()
        fleet.take()
        while fleet.running:
            fleet.step(0)
    assert fleet.sent, "the body was lost"
    assert fleet.progress.is_done
    if not deaths:
        assert len(fleet.sent) == 1
