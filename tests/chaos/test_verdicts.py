"""A verdict must find what went wrong: each promise is broken here on purpose, in a record made by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.journal import END, START, Journal, Mark, Pen, line_of, mark_of
from tests.chaos.patience import factor
from tests.chaos.verdicts import (
    Death,
    Sends,
    judge_due,
    judge_early,
    judge_late,
    judge_poison,
    judge_sends,
    without_copies,
)

ALICE, BOB = 11, 12
NUMBERS = st.integers(min_value=0, max_value=200)


def start(number, pid=ALICE, at=1.0, *, deliveries=0, again=False):
    return Mark(START, number, pid, at, deliveries, again)


def run(number, pid=ALICE, at=1.0, *, deliveries=0, again=False):
    return [
        start(number, pid, at, deliveries=deliveries, again=again),
        Mark(END, number, pid, at + 0.1, deliveries, again),
    ]


def alice_dies(at=5.0, most=100, back_by=10.0):
    return Death(at, frozenset([ALICE]), most, back_by)


# -- late acknowledgment -----------------------------------------------------------------------------------------------


def test_every_task_seen_once_is_well():
    verdict = judge_late([1, 2], [*run(1), *run(2)], [])
    assert (verdict.lost, verdict.duplicates, verdict.findings) == (0, 0, ())


def test_a_task_that_never_ended_is_lost_also_when_it_started():
    verdict = judge_late([1, 2, 3], [*run(1), start(2)], [])
    assert verdict.lost == 2
    assert verdict.findings == ("2 lost: 2, 3",)


def test_a_task_that_runs_again_after_its_process_died_is_allowed_and_counted():
    verdict = judge_late([1], [*run(1), *run(1, BOB, 6.0, again=True)], [alice_dies()])
    assert (verdict.duplicates, verdict.bound, verdict.findings) == (1, 100, ())
    assert verdict.slowest == 1.0


def test_a_task_that_runs_again_while_its_process_lives_is_found():
    verdict = judge_late([1], [*run(1, BOB), *run(1, ALICE, 6.0)], [alice_dies()])
    assert verdict.findings == ("1 ran again though the process of the run before lives: 1",)


def test_a_task_that_ran_again_before_its_process_died_is_found():
    verdict = judge_late([1], [*run(1), *run(1, BOB, 4.0)], [alice_dies()])
    assert "though the process" in verdict.findings[0]


def test_more_again_than_the_dead_held_is_found():
    marks = [mark for number in range(3) for mark in [*run(number), *run(number, BOB, 6.0)]]
    assert judge_late(range(3), marks, [alice_dies(most=3)]).findings == ()
    assert judge_late(range(3), marks, [alice_dies(most=2)]).findings == (
        "3 tasks ran again after one death, at most 2 were held",
    )


def test_what_comes_back_too_late_is_found_and_timed():
    verdict = judge_late([1, 2], [*run(1, BOB, 6.0, again=True), *run(2, BOB, 12.5, again=True)], [alice_dies()])
    assert verdict.slowest == 7.5
    assert verdict.findings == ("1 came back too late, the worst, 2, by 2.50 s",)


def test_what_follows_in_a_row_is_not_late_for_being_many():
    row = [run(number, BOB, 9.5 + number * 0.9, again=True) for number in range(5)]
    assert judge_late(range(5), [mark for one in row for mark in one], [alice_dies()]).findings == ()
    without = [mark for number, one in enumerate(row) if number not in {2, 3} for mark in one]
    assert judge_late([0, 1, 4], without, [alice_dies()]).findings == ("1 came back too late, the worst, 4, by 1.70 s",)


def test_what_nobody_sent_is_found():
    assert judge_late([1], [*run(1), *run(7)], []).findings == ("1 never sent, but ran: 7",)


def test_an_outage_explains_what_everybody_ran_before_it_was_over():
    outage = Death(5.0, None, 100, until=7.0)
    marks = [*run(1, ALICE, 6.0), *run(1, BOB, 6.5)]
    assert judge_late([1], marks, [outage]).findings == ()
    assert judge_late([1], [*run(1, ALICE, 7.5), *run(1, BOB, 8.0)], [outage]).findings


@given(st.sets(NUMBERS, min_size=1), st.data())
def test_any_single_task_that_is_left_out_is_found(sent, data):
    gone = data.draw(st.sampled_from(sorted(sent)))
    marks = [mark for number in sent - {gone} for mark in run(number)]
    verdict = judge_late(sent, marks, [])
    assert verdict.findings == (f"1 lost: {gone}",)


@given(st.sets(NUMBERS, min_size=1), st.data(), st.booleans())
def test_any_single_task_that_is_doubled_is_found_in_any_order(sent, data, early):
    twice = data.draw(st.sampled_from(sorted(sent)))
    marks = [mark for number in sent for mark in run(number)] + run(twice, BOB, 2.0)
    verdict = (judge_early if early else judge_late)(sent, data.draw(st.permutations(marks)), [])
    assert verdict.duplicates == 1
    assert len(verdict.findings) == 1


@given(st.lists(st.tuples(NUMBERS, st.sampled_from([ALICE, BOB]), st.floats(0, 100)), max_size=50))
def test_conservation_lost_and_seen_are_all_that_was_sent(runs):
    marks = [mark for number, pid, at in runs for mark in run(number, pid, at)]
    seen = {number for number, _, _ in runs}
    verdict = judge_late(range(201), marks, [])
    assert verdict.lost + len(seen) == verdict.tasks
    assert verdict.duplicates == len(runs) - len(seen)


def test_a_retry_may_be_there_as_often_as_its_task_ran_where_settling_is_no_transaction():
    twice = [*run(1), *run(1, BOB, 6.0), *run(101, BOB, 7.0), *run(101, BOB, 8.0)]
    assert judge_late([1, 101], without_copies(twice, 100), [alice_dies()]).findings == ()
    thrice = [*twice, *run(101, BOB, 9.0)]
    assert judge_late([1, 101], without_copies(thrice, 100), [alice_dies()]).findings != ()
    once = [*run(1), *run(101, BOB, 7.0), *run(101, BOB, 8.0)]
    assert judge_late([1, 101], without_copies(once, 100), [alice_dies()]).findings != ()


# -- early acknowledgment ----------------------------------------------------------------------------------------------


def test_early_nothing_may_start_twice_whoever_died():
    verdict = judge_early([1], [*run(1), start(1, BOB, 6.0)], [alice_dies()])
    assert verdict.findings == ("1 started twice with early acknowledgment: 1",)


def test_early_what_was_acknowledged_by_the_dead_may_be_missing_and_no_more():
    assert judge_early([1, 2], [], [alice_dies(most=2)]).findings == ()
    [finding] = judge_early([1, 2, 3], [], [alice_dies(most=2)]).findings
    assert finding.startswith("3 tasks never started, 2 at most")


# -- sends, due times, poison ------------------------------------------------------------------------------------------


def test_a_confirmed_send_that_never_ran_is_found():
    assert judge_sends(Sends(confirmed=frozenset([1, 2])), run(1), 5.0) == ["1 confirmed and lost: 2"]


def test_an_unknown_send_may_run_or_not_and_a_refused_one_may_not():
    unknown = Sends(unknown=frozenset([1, 2]))
    assert judge_sends(unknown, run(1), 5.0) == []
    assert judge_sends(Sends(refused=frozenset([1])), run(1), 5.0) == ["1 raised that nothing was sent, but ran: 1"]


def test_a_send_that_hangs_is_found():
    assert judge_sends(Sends(seconds=(0.1, 7.5)), [], 5.0) == ["1 sends took longer than 5 s, the slowest 7.50 s"]


def test_a_delayed_task_is_neither_early_nor_late():
    assert judge_due({1: 10.0}, [start(1, at=10.4)], 1.0) == ([], 10.4 - 10.0)
    assert judge_due({1: 10.0}, [start(1, at=9.5)], 1.0)[0] == ["1 ran before their time: 1"]
    assert judge_due({1: 10.0}, [start(1, at=11.5)], 1.0)[0] == ["1 ran more than 1 s late: 1"]


def test_what_was_due_while_nobody_lived_counts_from_the_first_ready_worker():
    dead = [(9.0, 20.0)]
    assert judge_due({1: 10.0}, [start(1, at=20.5)], 1.0, dead)[0] == []
    assert judge_due({1: 10.0}, [start(1, at=21.5)], 1.0, dead)[0] == ["1 ran more than 1 s late: 1"]
    assert judge_due({1: 5.0}, [start(1, at=20.5)], 1.0, dead)[0] == ["1 ran more than 1 s late: 1"]


def test_the_poison_alone_is_dead_after_the_allowed_starts():
    poison = [start(9, at=float(at)) for at in range(5)]
    assert judge_poison(9, [1], [*run(1), *poison], [9], 5) == []
    assert judge_poison(9, [1], [*run(1), *poison], [1, 9], 5) == ["dead letters are [1, 9], not the poison 9 alone"]
    assert judge_poison(9, [1], [*run(1), *poison], [], 5) == ["dead letters are [], not the poison 9 alone"]
    assert judge_poison(9, [1], poison, [9], 5) == ["1 innocents that did not run: 1"]
    assert judge_poison(9, [1], [*run(1), *poison[:4]], [9], 5) == ["the poison started 4 times, not 5"]
    again = [*run(1), *poison, start(9, at=5.0)]
    assert judge_poison(9, [1], again, [9], 5) == ["the poison started 6 times, not 5"]
    assert judge_poison(9, [1], again, [9], 5, uncounted=1) == []


# -- the journal -------------------------------------------------------------------------------------------------------


@given(
    st.builds(
        Mark, st.sampled_from([START, END]), NUMBERS, NUMBERS, st.integers(0, 10**9).map(float), NUMBERS, st.booleans()
    )
)
def test_a_mark_survives_being_written(mark):
    assert mark_of(line_of(mark)) == mark


def test_a_journal_reads_whole_lines_only_and_each_once(tmp_path):
    journal = Journal(tmp_path / "journal")
    pen = Pen(str(journal.path))
    pen.write(START, 1, 0, False)
    with journal.path.open("ab") as file:
        file.write(b"start 2 77")
    assert [mark.number for mark in journal.poll()] == [1]
    with journal.path.open("ab") as file:
        file.write(b" 1.0 0 0\n")
    pen.write(END, 1, 0, False)
    assert [mark.number for mark in journal.poll()] == [2, 1]
    assert (journal.started, journal.ended) == ({1, 2}, {1})
    assert journal.poll() == []


def test_limits_are_stretched_only_where_others_use_the_machine():
    assert factor(0.0, 2) == factor(4.0, 2) == 1.0
    assert factor(14.0, 2) == 6.0
