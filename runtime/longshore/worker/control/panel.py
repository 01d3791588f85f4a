"""The table of commands, and how one is called: a command that is unknown, or fails, answers with an error.

An answer is a value for JSON. `{"ok": …}` and `{"error": …}` are Celery's way to say how a command that does something
ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from longshore.exceptions import LongshoreError
from longshore.worker.control.site import Site

logger = logging.getLogger("longshore.worker")

Command = Callable[..., Any]
COMMANDS: dict[str, Command] = {}


def command(*, also: str | None = None) -> Callable[[Command], Command]:
    """Register a command under its function's name, and under an older name of it."""

    def register(function: Command) -> Command:
        for name in (function.__name__, also):
            if name:
                COMMANDS[name] = function
        return function

    return register


def load() -> None:
    """Import the modules that register commands."""
    for module in ("looking", "acting", "stopping"):
        import_module(f"longshore.worker.control.{module}")


def ok(value: Any) -> dict[str, Any]:
    """Say that it is done."""
    return {"ok": value}


def refused(reason: str) -> dict[str, Any]:
    """Say why it is not done."""
    return {"error": reason}


def call(site: Site, method: Any, arguments: Mapping[str, Any]) -> Any:
    """Run a command and return its answer; whatever goes wrong is an answer, too."""
    found = COMMANDS.get(method) if isinstance(method, str) else None
    if found is None:
        return refused(f"there is no command {method!r}; this worker knows {', '.join(sorted(COMMANDS))}")
    try:
        return found(site, **arguments)
    except LongshoreError as error:
        return refused(str(error))
    except TypeError as error:
        return refused(f"{method}: {error}".replace(f"{found.__name__}() ", ""))
    except Exception as error:  # a command must not end the node's control
        logger.exception("command %s failed", method)
        return refused(f"{method} failed: {type(error).__name__}: {error}")
