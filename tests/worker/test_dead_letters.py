"""Dead letters are found, shown, replayed and dropped, on every broker; what is not meant stays as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from longshore.brokers.port import Outgoing
from longshore.core.protocol import build_message
from longshore.core.settle import Failure, bury
from longshore.message import DEAD_HEADER
from tests.support.workers import run_command

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


@pytest.fixture
def graves(bench):
    """Ten letters: even ones of shop.pay that failed, odd ones of shop.ship that were rejected."""
    queue = f"{bench.queue}.dead"
    failure = Failure("ValueError", "builtins", ["no money"], "no money", "Traceback …\nValueError: no money")
    letters = []
    for number in range(10):
        task, reason = ("shop.ship", "Rejected") if number % 2 else ("shop.pay", "TaskFailed")
        message = build_message(task, [number], task_id=str(number))
        because = None if number % 2 else failure
        letters.append(bury(message, bench.queue, reason, "no", deliveries=0, now=NOW, failure=because))
    bench.app.broker.send([Outgoing(queue, letter) for letter in letters])
    return queue


def dead(bench, *words, code=0):
    done = run_command("dead", *words, "-b", bench.broker)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def ids(bench, queue):
    return [message.id for message in bench.app.broker.peek(queue, 100)]


@pytest.mark.parity("F4")
def test_letters_that_a_selection_names_are_replayed_as_they_were_and_the_others_stay_in_order(bench, graves):
    replayed = dead(bench, "replay", graves, "--task", "shop.ship", "-o", "json")
    assert json.loads(replayed) == {"replayed": 5}
    assert ids(bench, graves) == ["0", "2", "4", "6", "8"]
    again = bench.app.broker.peek(bench.queue, 100)
    assert [message.id for message in again] == ["1", "3", "5", "7", "9"]
    assert all(DEAD_HEADER not in message.headers for message in again)


def test_a_dry_run_shows_what_it_would_replay_and_changes_nothing(bench, graves):
    shown = json.loads(dead(bench, "replay", graves, "--id", "4", "--id", "5", "--dry-run", "-o", "json"))
    assert [(row["id"], row["reason"]) for row in shown] == [("4", "TaskFailed"), ("5", "Rejected")]
    assert len(ids(bench, graves)) == 10


def test_letters_go_where_they_are_sent(bench, graves):
    dead(bench, "replay", graves, "--reason", "rejected", "--to", f"{bench.queue}.dead")
    assert len(ids(bench, graves)) == 10


def test_letters_are_dropped_by_selection(bench, graves):
    assert dead(bench, "purge", graves, "--reason", "TaskFailed", "--yes").strip() == "dropped: 5"
    assert ids(bench, graves) == ["1", "3", "5", "7", "9"]


def test_a_letter_is_shown_with_its_history(bench, graves):
    shown = dead(bench, "show", graves, "4")
    assert "shop.pay" in shown
    assert "ValueError: no money" in shown
    whole = json.loads(dead(bench, "show", graves, "4", "-o", "json"))
    assert whole["body"][0] == [4]
    assert whole["reason"] == "TaskFailed"
    assert "no dead letter of task 77 waits in" in dead(bench, "show", graves, "77", code=1)


def test_a_queue_that_is_not_there_is_said(bench):
    assert "does not exist on this broker" in dead(bench, "replay", "nowhere.dead", code=1)
    assert "is not a time such as" in dead(bench, "ls", "nowhere.dead", "--before", "soon", code=2)
