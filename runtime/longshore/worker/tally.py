"""How often each task ran, how that ended, and what it took: counted by each process in memory that it shares.

Only where metrics are asked for. A process adds to its own row with plain stores; the supervisor sums the rows. What a
process counted stays when it ends, and its successor counts on.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from time import perf_counter
from typing import Any, NamedTuple

from longshore.core.settle import Failed, Outcome, Retried, Succeeded

_RECORD = struct.Struct("<4Q2d")
STATES = ("succeeded", "failed", "retried", "other")
"""`other` is ignored or rejected by the task itself."""
MOST_TASKS = 1000
_INDEX: dict[type[Outcome], int] = {Succeeded: 1, Failed: 2, Retried: 3}
_OTHERS = "(others)"
"""The name under which the tasks of an app beyond that number are counted."""


class Total(NamedTuple):
    """What is known of one task."""

    task: str
    runs: tuple[int, int, int, int]
    """By state, in the order of `STATES`."""
    run_seconds: float
    overhead_seconds: float
    """What the process spent on its messages besides the runs; counted in the mode `processes`."""


class Tallies:
    """The table of a worker: a row a process, a record a task."""

    def __init__(self, rows: int, tasks: Sequence[str]) -> None:
        self._names = (*tasks[:MOST_TASKS], _OTHERS)
        self._rows = rows
        self._memory = mmap.mmap(-1, rows * self._row_bytes)

    @property
    def _row_bytes(self) -> int:
        return -(-len(self._names) * _RECORD.size // mmap.PAGESIZE) * mmap.PAGESIZE

    def tally(self, row: int) -> Tally:
        """Return who counts in this row."""
        return Tally(self._memory, row * self._row_bytes, self._names)

    def totals(self, rows: int) -> list[Total]:
        """Return the sums over so many rows, of the tasks that ran."""
        found = []
        for index, name in enumerate(self._names):
            places = [row * self._row_bytes + index * _RECORD.size for row in range(rows)]
            sums = [
                sum(column) for column in zip(*(_RECORD.unpack_from(self._memory, at) for at in places), strict=True)
            ]
            if any(sums[:4]):
                found.append(Total(name, (sums[0], sums[1], sums[2], sums[3]), sums[4], sums[5]))
        return found


class Tally:
    """Counts for one process, used by its main thread."""

    def __init__(self, memory: mmap.mmap, base: int, names: Sequence[str]) -> None:
        self._memory = memory
        self._places = {name: base + index * _RECORD.size for index, name in enumerate(names)}
        self._others = names[-1]
        self._records: dict[str, list[Any]] = {}
        self._since = 0.0

    def begin(self) -> None:
        """Say that messages came: what follows besides the runs is overhead."""
        self._since = perf_counter()

    def note(self, task: str, outcome: Outcome, seconds: float, *, overhead: bool) -> None:
        """Count a run."""
        record = self._records.get(task) or self._record(task)
        record[_INDEX.get(type(outcome), 4)] += 1
        record[5] += seconds
        if overhead:
            now = perf_counter()
            record[6] += max(0.0, now - self._since - seconds)
            self._since = now
        _RECORD.pack_into(self._memory, *record)

    def _record(self, task: str) -> list[Any]:
        """Return the place of a task and what was counted there, by a process before this one too."""
        at = self._places.get(task)
        if at is None:
            return self._records.get(self._others) or self._record(self._others)
        record = self._records[task] = [at, *_RECORD.unpack_from(self._memory, at)]
        return record
