"""What one process of a worker may use up before it is replaced: a number of tasks, an amount of memory.

Asked between two tasks, never in one. Exists only where there is a limit.
"""

from __future__ import annotations

import resource

from longshore.worker.options import WorkerOptions


class Quota:
    """One process's account."""

    def __init__(self, tasks: int | None, kibibytes: int | None) -> None:
        self._left = tasks
        self._most = kibibytes

    @classmethod
    def of(cls, options: WorkerOptions) -> Quota | None:
        """Return a new account; `None` where nothing is limited."""
        if options.max_tasks_per_child is None and options.max_memory_per_child is None:
            return None
        return cls(options.max_tasks_per_child, options.max_memory_per_child)

    def claimable(self, limit: int) -> int:
        """Return how many messages are worth claiming: what cannot run here is another's."""
        return limit if self._left is None else min(limit, self._left)

    def ran(self, tasks: int = 1) -> None:
        """Count tasks that have begun."""
        if self._left is not None:
            self._left -= tasks

    def spent(self) -> str | None:
        """Return why this process is to be replaced now, if it is."""
        if self._left is not None and self._left <= 0:
            return "it has run its number of tasks"
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the highest it ever was, as in Celery
        if self._most is not None and used > self._most:
            return f"it has come to use {used:,} KiB of memory"
        return None
