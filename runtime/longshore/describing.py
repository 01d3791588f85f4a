"""An exception as it is stored and shown: its class, arguments that JSON can hold, its text, its traceback."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from longshore.core.settle import Failure
from longshore.exceptions import (
    Ignore,
    MaxRetriesExceededError,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)
from longshore.message import dump_body

_CELERYS = frozenset(
    {
        Ignore,
        MaxRetriesExceededError,
        Reject,
        Retry,
        SoftTimeLimitExceeded,
        TaskRevokedError,
        TimeLimitExceeded,
        WorkerLostError,
    }
)
"""Celery's clients know these by their names, in `celery.exceptions`."""


def describe(error: BaseException) -> Failure:
    """Return an exception as it is stored: arguments that JSON cannot hold become their repr."""
    module = type(error).__module__
    if type(error) in _CELERYS:
        module = "celery.exceptions"
    return Failure(
        type=type(error).__qualname__,
        module=module,
        args=[_plain(arg) for arg in error.args],
        text=_shown(error, str),
        traceback="".join(traceback.format_exception(error)),
    )


def _plain(value: Any) -> Any:
    try:
        dump_body(value)
    except (TypeError, ValueError, RecursionError):
        return _shown(value, repr)
    return value


def _shown(value: Any, show: Callable[[Any], str]) -> str:
    """Return how a value shows itself; one that raises when it is asked must not take the worker with it."""
    try:
        return show(value)
    except Exception:  # noqa: BLE001 - it is the user's code
        return f"<{type(value).__name__} that cannot be shown>"
