"""Logging for tasks: a logger by name, and the running task's id and name on every record."""

from __future__ import annotations

import logging

from longshore.request import current_request


def get_task_logger(name: str) -> logging.Logger:
    """Return a logger for a module of tasks; in a worker every record carries `task_id` and `task_name`."""
    return logging.getLogger(name)


class TaskContextFilter(logging.Filter):
    """Puts `task_id` and `task_name` of the running task on a record; empty outside a run."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the attributes; never drops a record."""
        request = current_request()
        record.task_id = request.id or ""
        record.task_name = request.task or ""
        return True
