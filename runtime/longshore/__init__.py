"""Longshore: Python task workers that never lose a task.

``from longshore import Longshore, shared_task`` is all that most programs need; the names are Celery's.
"""

from __future__ import annotations

from longshore.app import Longshore
from longshore.result import AsyncResult
from longshore.shared import current_app, shared_task
from longshore.task import Task

__all__ = ["AsyncResult", "Longshore", "Task", "current_app", "shared_task"]
__version__ = "0.1.0"
