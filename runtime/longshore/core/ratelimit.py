"""Rates as a user writes them (Celery's syntax), and what a message over its rate does. Pure.

The limit itself is kept in a store, by the generic cell rate algorithm: a key's *turn* is a time that moves on by one
interval with every task. Whoever comes before it is given a turn to come back at, or told when to ask again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from longshore.exceptions import ImproperlyConfigured

_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*([smh]))?\s*")

HORIZON_SECONDS = 60.0
"""How far ahead turns are given: a rate that changes is in force for everybody after this time."""
LATE_SECONDS = 1.0
"""A turn that was missed by more than this is void: workers that come back do not run a burst of old turns."""
SHORT_WAIT_SECONDS = 0.005
"""A turn as near as this is waited for in place; the way through the broker would take as long."""
_BATCH_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Rate:
    """So many tasks in so many seconds; `count` is above 0."""

    count: float
    seconds: float

    @property
    def interval(self) -> float:
        """Seconds from one turn to the next."""
        return self.seconds / self.count

    @property
    def batch(self) -> int:
        """How many turns one process takes at once: more than one where they come faster than every 10 ms."""
        return max(1, int(_BATCH_SECONDS / self.interval))

    def __str__(self) -> str:
        unit = {1.0: "s", 60.0: "m", 3600.0: "h"}[self.seconds]
        return f"{self.count:.12g}/{unit}"


@dataclass(frozen=True, slots=True)
class Turn:
    """When it is a task's turn: `wait` seconds from now. Not `taken`, it is too far ahead and still anybody's."""

    wait: float
    taken: bool


def parse_rate(value: Any) -> Rate | None:
    """Read ``"100/m"``, ``"10/s"``, ``"1000/h"`` or a number (tasks per second); `None`, ``""`` and 0 are no limit."""
    if value is None or value == "":
        return None
    if isinstance(value, Rate):
        return value
    found = _FORM.fullmatch(str(value)) if not isinstance(value, bool) else None
    if found is None:
        raise ImproperlyConfigured(f'rate_limit {value!r} is not a rate; write "100/m", "10/s", "1000/h" or a number')
    count = float(found[1])
    return Rate(count, _PERIODS[found[2] or "s"]) if count else None


def delay_without_turn(draw: float) -> float:
    """Return when to ask again for a turn that is beyond the horizon; `draw` is uniform in [0, 1)."""
    return HORIZON_SECONDS * (0.25 + 0.5 * draw)


def is_in_time(turn_at: float, now: float) -> bool:
    """Whether a message that was given a turn may run at `now` on the strength of it; clocks may differ a little."""
    return abs(now - turn_at) <= LATE_SECONDS
