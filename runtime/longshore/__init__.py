"""Longshore: Python task workers that never lose a task.

``from longshore import Longshore, shared_task`` is all that most programs need; the names are Celery's.
"""

from __future__ import annotations

from longshore.app import Longshore
from longshore.canvas import (
    Signature,
    chain,
    chord,
    chunks,
    group,
    maybe_signature,
    signature,
    subtask,
    xmap,
    xstarmap,
)
from longshore.result import AsyncResult, GroupResult, ResultSet
from longshore.shared import current_app, shared_task
from longshore.task import Task

__all__ = [
    "AsyncResult",
    "GroupResult",
    "Longshore",
    "ResultSet",
    "Signature",
    "Task",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "group",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]
__version__ = "0.1.0"
