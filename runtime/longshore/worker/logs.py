"""A worker's logs: JSON lines where a program reads them, readable lines on a terminal; the task on every line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from longshore import signals
from longshore.utils.log import TaskContextFilter

LEVELS = ("debug", "info", "warning", "error", "critical")
FIELDS = "longshore_fields"
"""Name of a record's further fields; a task's own `extra` will hardly use it by chance."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, fields of ours, task_id, task_name, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        for name in ("task_id", "task_name"):
            if value := getattr(record, name, ""):
                entry[name] = value
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class TerminalFormatter(logging.Formatter):
    """Time, level, message, and the task that speaks."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        """Return the line without an exception's text."""
        line = super().formatMessage(record)
        task_id, name = getattr(record, "task_id", ""), getattr(record, "task_name", "")
        return f"{line}  [{name} {task_id}]" if task_id else line


def configure_logging(level: str, *, json_lines: bool | None = None) -> None:
    """Send the process's logs to standard output; JSON unless that is a terminal."""
    if json_lines is None:
        json_lines = not sys.stdout.isatty()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if json_lines else TerminalFormatter())
    handler.addFilter(TaskContextFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def let_app_configure_logging() -> None:
    """Let the app's receivers change the logs, or set them up wholly by themselves; after the app is imported."""
    root = logging.getLogger()
    about: dict[str, Any] = {"loglevel": root.level, "logfile": None, "format": None, "colorize": sys.stdout.isatty()}
    if signals.setup_logging.receivers:
        root.handlers[:] = []
        signals.setup_logging.send(None, **about)
        return
    signals.after_setup_logger.send(None, logger=root, **about)
    signals.after_setup_task_logger.send(None, logger=logging.getLogger("longshore.task"), **about)
