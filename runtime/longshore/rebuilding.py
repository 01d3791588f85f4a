"""From a stored failure back to an exception. Nothing is imported on a stored word: a result must not run code."""

from __future__ import annotations

import builtins
from typing import Any

from longshore import exceptions
from longshore.exceptions import LongshoreError, TaskRevokedError


class RemoteTaskError(LongshoreError):
    """Stands for an exception of a task whose class is not to be had here; `args` are its arguments."""


def rebuild_exception(stored: Any) -> BaseException:
    """Return the exception of a stored failure: a built-in or one of ours as itself, any other by a stand-in class
    of the same name. Nothing is imported on a stored word: a result must not run code in its reader.
    """
    if not isinstance(stored, dict) or "exc_type" not in stored:
        return RemoteTaskError(str(stored))
    name, module = str(stored["exc_type"]), str(stored.get("exc_module") or "")
    args = stored.get("exc_message")
    args = args if isinstance(args, list | tuple) else [args]
    known = _known_exception(name, module)
    if known is not None:
        try:
            return known(*args)
        except TypeError:
            pass
    if name == "TaskRevokedError":
        return TaskRevokedError(*args)
    stand_in: BaseException = type(name, (RemoteTaskError,), {"__module__": module or __name__})(*args)
    return stand_in


_HOMES = {
    "builtins": builtins,
    "exceptions": builtins,
    "celery.exceptions": exceptions,
    exceptions.__name__: exceptions,
}


def _known_exception(name: str, module: str) -> type[BaseException] | None:
    candidate: object = getattr(_HOMES.get(module), name, None)
    if isinstance(candidate, type) and issubclass(candidate, BaseException):
        return candidate
    return None
