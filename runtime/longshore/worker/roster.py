"""The roster: which processes a worker has, on which rows of the board, working on which queues.

Remote control changes it: it asks from its own thread, and the supervisor carries the change out in the main thread. A
process is only ever asked to leave: it finishes what runs first.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from longshore.brokers.port import Owner
from longshore.core.sentences import Sentence
from longshore.exceptions import ImproperlyConfigured
from longshore.worker.board import Board
from longshore.worker.options import WorkerOptions
from longshore.worker.signals import WakePipe


@dataclass(slots=True)
class Condemned:
    """What was decided about a process that is to be killed because of its tasks."""

    sentences: dict[int, Sentence]
    """By row of the board."""
    kill_at: float
    noted: bool = False


@dataclass(slots=True)
class Child:
    """One process, as its supervisor sees it."""

    rows: Sequence[int]
    """Its rows on the board, one a slot."""
    owner: Owner
    pid: int = 0
    started_at: float = 0.0
    quick_deaths: int = 0
    restart_at: float = field(default=0.0)
    is_asked: bool = False
    """It was asked to leave: its end is no accident."""
    is_leaving: bool = False
    """Nobody takes its place."""
    condemned: Condemned | None = None


class Roster:
    """The processes of one worker. `shut_down` is what the worker does when it is told to end."""

    def __init__(self, options: WorkerOptions, board: Board, wake: WakePipe, shut_down: Callable[[], None]) -> None:
        self.options = options
        self.children: list[Child] = []
        self.changed: Callable[[], None] = lambda: None
        """Told when there is another set of processes or queues."""
        self._board = board
        self._wake = wake
        self._end = shut_down
        self._numbers = 0
        self._orders: deque[Callable[[], None]] = deque()
        rows = range(options.concurrency)
        for group in [[row] for row in rows] if self._is_forking else [list(rows)]:
            self._join(group)

    @property
    def _is_forking(self) -> bool:
        return self.options.execution == "processes"

    def new_owner(self) -> Owner:
        """Owner numbers are never used twice: a claim of a dead child never looks like its successor's."""
        self._numbers += 1
        return Owner(self.options.worker, self._numbers)

    def owners(self) -> list[Owner]:
        """Return who may hold claims."""
        return [child.owner for child in self.children]

    def release(self, child: Child) -> None:
        """Take a process off the roster that has left."""
        for row in child.rows:
            self._board.retire(row)
        self.children.remove(child)

    def follow_orders(self) -> None:
        """Carry out what was asked for."""
        while self._orders:
            self._orders.popleft()()

    # -- from other threads ------------------------------------------------------------------------------------------

    def pids(self) -> Mapping[int, int]:
        """Return the process of each row that has one."""
        return {row: child.pid for child in list(self.children) if child.pid for row in child.rows}

    def shut_down(self) -> None:
        """Drain and end."""
        self._order(self._end)

    def grow(self, slots: int) -> None:
        """Run so many tasks more at a time."""
        if slots > self._board.spare:
            raise ImproperlyConfigured(f"this worker can grow by {self._board.spare} slots, not by {slots}")
        self._order(lambda: self._grow(slots))

    def shrink(self, slots: int) -> None:
        """Run so many tasks less at a time."""
        if slots >= self._board.capacity:
            raise ImproperlyConfigured(f"of {self._board.capacity} slots one must stay; shut the worker down instead")
        if self._choose(slots) is None:
            raise ImproperlyConfigured(f"a process of {len(self.children[0].rows)} slots cannot shrink by {slots}")
        self._order(lambda: self._shrink(slots))

    def work_on(self, queues: tuple[str, ...]) -> None:
        """Work on these queues."""

        def change() -> None:
            self.options = replace(self.options, queues=queues)

        self.change(change)

    def change(self, change: Callable[[], None]) -> None:
        """Make a change that processes only see from their birth; running tasks end as they began."""
        self._order(lambda: self._change(change))

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        self._wake.ring()

    # -- in the main thread ------------------------------------------------------------------------------------------

    def _join(self, rows: Sequence[int]) -> None:
        self.children.append(Child(rows, self.new_owner()))

    def _grow(self, slots: int) -> None:
        rows = [row for _ in range(slots) if (row := self._board.add()) is not None]
        for group in [[row] for row in rows] if self._is_forking else [rows]:
            self._join(group)
        self.changed()

    def _shrink(self, slots: int) -> None:
        for child in self._choose(slots) or ():
            self._ask_to_leave(child, for_good=True)

    def _choose(self, slots: int) -> list[Child] | None:
        """Return who may go, idle ones first; `None` where no set of processes has exactly so many slots."""
        chosen = []
        for child in sorted(self.children, key=self._is_busy):
            if not child.is_leaving and len(child.rows) <= slots:
                chosen.append(child)
                slots -= len(child.rows)
        return None if slots else chosen

    def _is_busy(self, child: Child) -> bool:
        return any(self._board.read(row).busy for row in child.rows)

    def _change(self, change: Callable[[], None]) -> None:
        """Each process is followed by another.

        One that runs many tasks at a time has its successor beside it at once: they may take long.
        """
        change()
        for child in [child for child in self.children if not child.is_leaving]:
            if not self._is_forking and len(child.rows) <= self._board.spare:
                rows = [row for _ in child.rows if (row := self._board.add()) is not None]
                self._join(rows)
                self._ask_to_leave(child, for_good=True)
            else:
                self._ask_to_leave(child, for_good=False)
        self.changed()

    def _ask_to_leave(self, child: Child, *, for_good: bool) -> None:
        child.is_asked, child.is_leaving = True, child.is_leaving or for_good
        if child.pid:
            os.kill(child.pid, signal.SIGTERM)
        elif for_good:
            self.release(child)
            self.changed()
