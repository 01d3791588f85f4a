"""The message of a tick says what its CronSchedule says: its id and its times follow from the tick alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from longshore.core.protocol import TICK_HEADER, parse_call
from longshore.core.ticks import tick_id
from longshore_operator.api.cronschedule import CronSchedule
from longshore_operator.engine.reconcile_schedule import tick_message

TICK = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def schedule(**spec: Any) -> CronSchedule:
    manifest = {
        "apiVersion": "longshore.dev/v1alpha1",
        "kind": "CronSchedule",
        "metadata": {"name": "report", "namespace": "shop", "uid": "u-1"},
        "spec": {"cron": "0 2 * * *", "task": "shop.report", "queue": "orders", **spec},
    }
    return CronSchedule.model_validate(manifest)


def test_two_sendings_of_one_tick_differ_in_their_copy_only() -> None:
    first, second = (tick_message(schedule(expiresSeconds=60, priority=3), TICK) for _ in range(2))
    assert first.id == second.id == tick_id("u-1", TICK)
    assert first.headers[TICK_HEADER]["copy"] != second.headers[TICK_HEADER]["copy"]
    assert first.with_headers({TICK_HEADER: None}) == second.with_headers({TICK_HEADER: None})


@pytest.mark.parametrize("priority", [0, 5, 9])
def test_carries_the_priority(priority: int) -> None:
    message = tick_message(schedule(priority=priority), TICK)
    assert (message.properties["priority"], message.priority) == (priority, priority)


@pytest.mark.parametrize("seconds", [1, 90, 31_536_000])
def test_expires_so_long_after_the_tick_however_late_it_is_sent(seconds: int) -> None:
    call = parse_call(tick_message(schedule(expiresSeconds=seconds), TICK))
    assert call.expires == TICK + timedelta(seconds=seconds)


def test_without_either_the_message_has_neither() -> None:
    message = tick_message(schedule(), TICK)
    assert "priority" not in message.properties
    assert parse_call(message).expires is None
