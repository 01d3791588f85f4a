from datetime import UTC, datetime, timedelta

import pytest

from longshore.core.letters import Selection, home_of
from longshore.core.protocol import build_message
from longshore.core.settle import bury

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
LETTER = bury(build_message("shop.pay", task_id="a"), "orders", "TaskFailed", "no money", deliveries=0, now=NOW)


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), True),
        (Selection(ids=frozenset({"a", "b"})), True),
        (Selection(ids=frozenset({"b"})), False),
        (Selection(task="shop.*"), True),
        (Selection(task="shop"), False),
        (Selection(reason="taskfailed"), True),
        (Selection(reason="Rejected"), False),
        (Selection(before=NOW), False),
        (Selection(before=NOW + timedelta(seconds=1)), True),
        (Selection(after=NOW), True),
        (Selection(after=NOW + timedelta(seconds=1)), False),
        (Selection(task="shop.*", reason="Rejected"), False),
    ],
)
def test_every_condition_has_to_hold(selection, taken):
    assert selection.takes(LETTER) is taken


def test_a_message_without_an_epitaph_is_taken_by_its_task_alone():
    stray = build_message("shop.pay", task_id="a")
    assert Selection(task="shop.pay").takes(stray)
    assert not Selection(before=NOW).takes(stray)
    assert not Selection(reason="TaskFailed").takes(stray)


def test_a_letter_knows_its_home():
    assert home_of(LETTER, "orders.dead") == "orders"
    assert home_of(build_message("t", task_id="a"), "orders.dead") == "orders"
