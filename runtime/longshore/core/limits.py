"""Time limits as values: which ones hold for a call, and which make no sense."""

from __future__ import annotations

from typing import Any, NamedTuple

from longshore.exceptions import MessageError


class Limits(NamedTuple):
    """Seconds from the start of a run; `None` is no limit."""

    hard: float | None = None
    soft: float | None = None

    def __bool__(self) -> bool:
        return self.hard is not None or self.soft is not None

    def over(self, own: Limits) -> Limits:
        """Return these, and where they say nothing the others."""
        return Limits(own.hard if self.hard is None else self.hard, own.soft if self.soft is None else self.soft)


NO_LIMITS = Limits()
_SAYS_NOTHING = ([None, None], None)


def read_limits(header: Any) -> Limits | None:
    """Read the header `timelimit`, [hard, soft]; `None` where it says nothing, as most do."""
    if header in _SAYS_NOTHING:
        return None
    if not isinstance(header, list | tuple) or len(header) != 2:  # noqa: PLR2004 - hard and soft
        raise MessageError(f"header `timelimit` is not [hard, soft]: {header!r}")
    return Limits(_seconds(header[0]), _seconds(header[1]))


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise MessageError(f"header `timelimit` holds {value!r}, which is not a number of seconds")
    return float(value) or None  # Celery sends 0 for none


def check_limits(hard: float | None, soft: float | None) -> None:
    """Raise `ValueError` for limits that nobody can mean."""
    for name, value in (("time_limit", hard), ("soft_time_limit", soft)):
        if value is not None and not 0 <= value < float("inf"):
            raise ValueError(f"{name} {value!r} is not a number of seconds")
    if hard and soft and soft > hard:
        raise ValueError(f"soft_time_limit ({soft:g} s) must be less than or equal to time_limit ({hard:g} s)")
