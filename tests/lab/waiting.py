"""Wait for something to become true, and say what was waited for when it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.lab.shell import CommandFailed, LabError

T = TypeVar("T")


class NotInTime(LabError, AssertionError):
    """What was waited for did not happen. Also an AssertionError: in a test, that is a failed promise."""


def wait_until(
    what: str,
    predicate: Callable[[], T],
    seconds: float,
    *,
    interval: float = 0.1,
    meanwhile: Callable[[], None] = lambda: None,
) -> T:
    """Return the first truthy value of `predicate`. A command that fails in it counts as not yet.

    `meanwhile` is called between two attempts and may raise, where waiting has become vain.
    """
    deadline = time.monotonic() + seconds
    while True:
        value, trouble = _attempt(predicate)
        if value:
            return value
        meanwhile()
        if time.monotonic() > deadline:
            last = trouble or f"the last answer was {value!r}"
            raise NotInTime(f"{what}: not within {seconds:g} s; {last}")
        time.sleep(interval)


def _attempt(predicate: Callable[[], T]) -> tuple[T | None, str]:
    try:
        return predicate(), ""
    except CommandFailed as error:
        return None, str(error)
