"""A schedule is due at exactly its times: over clock changes, after a gap, and whoever asks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.ticks import (
    Recurrence,
    ScheduleError,
    _forward,
    due_ticks,
    latest_tick,
    next_tick,
    tick_id,
    tick_time,
)

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("0 2 * * *", "UTC", "2026-01-01T02:00:00+00:00", ["2026-01-02T02:00:00+00:00"]),
        ("0 2 * * *", "UTC", "2026-01-01T01:59:59.5+00:00", ["2026-01-01T02:00:00+00:00"]),
        # Clocks go forward: 02:30 does not exist; it runs once, when the clock has jumped.
        ("30 2 * * *", BERLIN, "2026-03-28T12:00:00+01:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        # Clocks go back: 02:30 exists twice; it runs once.
        ("30 2 * * *", BERLIN, "2026-10-24T12:00:00+02:00", ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        ("30 2 * * *", BERLIN, "2026-10-25T02:15:00+01:00", ["2026-10-26T02:30:00+01:00"]),
        # Every half hour goes by elapsed time, on both days.
        (
            "*/30 * * * *",
            BERLIN,
            "2026-03-29T01:30:00+01:00",
            ["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"],
        ),
        (
            "*/30 * * * *",
            BERLIN,
            "2026-10-25T02:30:00+02:00",
            ["2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:00:00+01:00"],
        ),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00+00:00", ["2028-02-29T00:00:00+00:00"]),
        ("@daily", "Asia/Kolkata", "2026-01-01T00:00:00+00:00", ["2026-01-02T00:00:00+05:30"]),
        ("0 9 * * MON-FRI", "America/New_York", "2026-03-06T10:00:00-05:00", ["2026-03-09T09:00:00-04:00"]),
    ],
)
def test_cron_lines(cron: str, zone: str, after: str, expected: list[str]) -> None:
    ticks = list(islice(_forward(Recurrence(cron=cron, time_zone=zone), at(after)), len(expected)))
    assert ticks == [at(text) for text in expected]


@pytest.mark.parametrize(
    ("every", "after", "expected"),
    [
        (1, "2026-01-01T00:00:00.2+00:00", "2026-01-01T00:00:01+00:00"),
        (0.5, "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00.5+00:00"),
        (0.1, "2026-01-01T00:00:00.3+00:00", "2026-01-01T00:00:00.4+00:00"),
        (86_400, "2026-01-01T00:00:01+00:00", "2026-01-02T00:00:00+00:00"),
        (7, "1970-01-01T00:00:00+00:00", "1970-01-01T00:00:07+00:00"),
    ],
)
def test_intervals_are_anchored_at_the_epoch(every: float, after: str, expected: str) -> None:
    assert next_tick(Recurrence(every_seconds=every), at(after)) == at(expected)


@pytest.mark.parametrize(
    ("recurrence", "reason", "words"),
    [
        (Recurrence(cron="61 * * * *"), "BadCron", "minute"),
        (Recurrence(cron="* * * *"), "BadCron", "it needs 5"),
        (Recurrence(cron="* * * * * *"), "BadCron", "it needs 5"),
        (Recurrence(cron="0 0 31 2 *"), "BadCron", "day"),
        (Recurrence(cron="* * * * *", time_zone="Mars/Olympus"), "UnknownTimeZone", "Europe/Berlin"),
        (Recurrence(cron="* * * * *", time_zone="../../etc/passwd"), "UnknownTimeZone", "unknown"),
        (Recurrence(cron="* * * * *", time_zone="Europe"), "UnknownTimeZone", "unknown"),
        (Recurrence(every_seconds=1, time_zone="Mars/Olympus"), "UnknownTimeZone", "unknown"),
        (Recurrence(), "BadSchedule", "exactly one"),
        (Recurrence(cron="* * * * *", every_seconds=1), "BadSchedule", "exactly one"),
        (Recurrence(every_seconds=0), "BadSchedule", "more than 0"),
        (Recurrence(every_seconds=float("nan")), "BadSchedule", "more than 0"),
    ],
)
def test_what_cannot_be_read_says_why(recurrence: Recurrence, reason: str, words: str) -> None:
    with pytest.raises(ScheduleError, match=words) as caught:
        recurrence.check()
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("after", "now", "deadline", "expected", "missed"),
    [
        ("00:00:00", "00:00:30", 300, [], 0),
        ("00:00:00", "00:01:00", 300, ["00:01:00"], 0),
        ("00:00:00", "00:01:04", 0, ["00:01:00"], 0),
        ("00:00:00", "00:03:30", 300, ["00:03:00"], 2),
        ("00:02:10", "00:03:30", 300, ["00:03:00"], 0),
        ("00:00:00", "00:03:30", 10, [], 3),
        ("00:00:00", "00:03:30", None, ["00:03:00"], 2),
        ("00:00:00", "00:03:02", 300, ["00:03:00"], 2),
        ("00:05:00", "00:03:00", 300, [], 0),
    ],
)
def test_catching_up_publishes_the_latest_missed_tick_only(
    after: str, now: str, deadline: float | None, expected: list[str], missed: int
) -> None:
    def clock(text: str) -> datetime:
        return at(f"2026-05-05T{text}+00:00")

    due = due_ticks(
        Recurrence(cron="* * * * *"), after=clock(after), now=clock(now), starting_deadline_seconds=deadline
    )
    assert due.ticks == tuple(clock(text) for text in expected)
    assert due.missed == missed


def test_a_late_look_at_a_fast_schedule_drops_nothing() -> None:
    start = at("2026-05-05T00:00:00+00:00")
    due = due_ticks(
        Recurrence(every_seconds=1), after=start, now=start + timedelta(seconds=3.5), starting_deadline_seconds=300
    )
    assert [tick.second for tick in due.ticks] == [1, 2, 3]


def test_a_tick_has_one_id_whoever_publishes_it() -> None:
    uid = "6f1c7d5e-7b0a-4f2e-9a55-8b5a1f5a2c11"
    tick = at("2026-10-25T02:30:00+01:00")
    assert tick_id(uid, tick) == tick_id(uid, tick.astimezone(ZoneInfo(BERLIN)))
    assert tick_id(uid, tick) != tick_id(uid, tick - timedelta(hours=1))
    assert tick_time(tick) == "2026-10-25T01:30:00Z"


moments = st.floats(1_735_689_600, 1_830_297_600).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
recurrences = st.one_of(
    st.builds(
        Recurrence,
        cron=st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "15 1-4 * * *", "0 0 1 * *", "5 3 * * SUN"]),
        time_zone=st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]),
    ),
    st.builds(Recurrence, every_seconds=st.sampled_from([0.1, 0.3, 1, 7, 60, 3600, 100_000])),
)


@given(recurrences, moments, st.floats(0.1, 90_000))
def test_the_latest_tick_of_a_gap_is_the_last_one_that_walking_over_it_finds(
    recurrence: Recurrence, after: datetime, gap: float
) -> None:
    if recurrence.every_seconds is not None:
        gap = min(gap, recurrence.every_seconds * 50)
    until = after + timedelta(seconds=gap)
    walked, tick = None, next_tick(recurrence, after)
    if recurrence.cron is not None and recurrence.cron.startswith("*"):
        until = min(until, after + timedelta(hours=1))
    while tick is not None and tick <= until:
        walked, tick = tick, next_tick(recurrence, tick)
    assert latest_tick(recurrence, after=after, until=until) == walked


@given(recurrences, moments)
def test_a_tick_is_the_next_one_until_it_has_come(recurrence: Recurrence, now: datetime) -> None:
    tick = next_tick(recurrence, now)
    assert tick is not None
    assert tick > now
    assert next_tick(recurrence, now + (tick - now) / 2) == tick
    assert next_tick(recurrence, tick) != tick
