"""The board: what each child is doing, in memory that it shares with its supervisor.

A child writes its own slot with plain stores, no lock and no system call, so that it costs the hot path nothing; the
supervisor reads it for reports and probes, and after a death, to know which task had started.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from longshore.worker.about import About
from longshore.worker.tally import Tallies, Tally

_HEAD_BYTES = 64  # for all: whether task events are wanted, the logical clock
_CLOCK = struct.Struct("<Q")
_CLOCK_AT = 8
_NUMBERS = struct.Struct("<QQQdB")  # processed, failed, held, started_at (monotonic; 0 = idle), state
_STATE_AT = _NUMBERS.size - 1
_ID_BYTES = 256
_SLOT_BYTES = 4096
_LENGTH = struct.Struct("<H")
_UNKNOWN_AT = 320
_UNKNOWN = struct.Struct("<d160p")  # when a task was parked last, and its name
_LIMIT_AT = 488
_LIMIT = struct.Struct("<dd")  # when the hard limit of what runs is over (monotonic; 0 = none), and how long it was
SOON_SECONDS = 2.0
"""The supervisor looks at the board every second; of a limit below this it is told."""
_COPY_BYTES = 65_536
_COPY_LENGTH = struct.Struct("<I")

READY, EARLY, FINAL_LOSS, COUNTED = 1, 2, 4, 8
"""Bits of a slot's state: it claims; its task was acknowledged before its start; its task must not run again if the
process dies; the start of its task is counted already."""

_ABOUT_AT = 512
_ABOUT_BYTES = _SLOT_BYTES - _ABOUT_AT - _LENGTH.size
_SPARE_SLOTS = 256
"""How many slots a worker may grow by; memory that nobody writes costs nothing."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One child's slot, as read."""

    processed: int
    failed: int
    held: int
    started_at: float
    ready: bool
    task_id: str | None
    unknown_task: str = ""
    """The task that was parked last because this app has none of that name."""
    unknown_at: float = 0.0
    """When that was (monotonic)."""
    about: About | None = None
    """Of the task that runs."""
    early: bool = False
    """The last task was acknowledged before its start: nobody else has its message."""
    final_loss: bool = False
    """The last task must not run again when its process dies (`reject_on_worker_lost=False`)."""
    counted: bool = False
    """The broker counted the start of the last task when that was claimed."""
    deadline: float = 0.0
    """When the hard limit of what runs is over (monotonic); 0 for none."""
    limit: float = 0.0
    """That limit, in seconds."""

    @property
    def busy(self) -> bool:
        """Whether a task runs there."""
        return self.started_at > 0


class Board:
    """Rows of shared memory, inherited by fork: `slots` are or were in use, `capacity` are."""

    def __init__(self, slots: int, ring: Callable[[], None] = lambda: None) -> None:
        """`ring` wakes the supervisor, from a child too."""
        self._ring = ring
        self._copies = mmap.mmap(-1, (slots + _SPARE_SLOTS) * _COPY_BYTES)  # memory only where something is written
        self._memory = mmap.mmap(-1, _HEAD_BYTES + (slots + _SPARE_SLOTS) * _SLOT_BYTES)
        self._most = slots + _SPARE_SLOTS
        self._unused: list[int] = []
        self.slots = slots
        self.tallies: Tallies | None = None
        """Where runs are counted by task, if anybody asks for metrics."""

    def count_tasks(self, names: Sequence[str]) -> None:
        """Have runs counted by task; before the first process is born."""
        self.tallies = Tallies(self._most, names)

    @property
    def capacity(self) -> int:
        """How many tasks run at a time."""
        return self.slots - len(self._unused)

    @property
    def spare(self) -> int:
        """How many more there could be."""
        return self._most - self.capacity

    def add(self) -> int | None:
        """Take a row into use; `None` when there is no more."""
        if self._unused:
            return self._unused.pop()
        if self.slots == self._most:
            return None
        self.slots += 1
        return self.slots - 1

    def retire(self, index: int) -> None:
        """Take a row out of use; its totals stay, and count on when it is used again."""
        self.clear_run(index)
        self._unused.append(index)

    # -- for all -----------------------------------------------------------------------------------------------------

    @property
    def events_wanted(self) -> bool:
        """Whether the processes publish task events."""
        return bool(self._memory[0])

    @events_wanted.setter
    def events_wanted(self, wanted: bool) -> None:
        self._memory[0] = wanted

    def tick(self, seen: int = 0) -> int:
        """Move the worker's logical clock past what was seen elsewhere, and return it."""
        return _tick(self._memory, seen)

    # -- rows --------------------------------------------------------------------------------------------------------

    def read(self, index: int) -> Slot:
        """Return what child `index` last wrote."""
        base = _base(index)
        processed, failed, held, started_at, state = _NUMBERS.unpack_from(self._memory, base)
        unknown_at, unknown = _UNKNOWN.unpack_from(self._memory, base + _UNKNOWN_AT)
        deadline, limit = _LIMIT.unpack_from(self._memory, base + _LIMIT_AT)
        task_id = self._task_id(base)
        return Slot(
            processed=processed,
            failed=failed,
            held=held,
            started_at=started_at,
            ready=bool(state & READY),
            task_id=task_id,
            unknown_task=unknown.decode("utf-8", "replace"),
            unknown_at=unknown_at,
            about=self._about(base) if task_id else None,
            early=bool(state & EARLY),
            final_loss=bool(state & FINAL_LOSS),
            counted=bool(state & COUNTED),
            deadline=deadline,
            limit=limit,
        )

    def _task_id(self, base: int) -> str | None:
        (length,) = _LENGTH.unpack_from(self._memory, base + _NUMBERS.size)
        start = base + _NUMBERS.size + _LENGTH.size
        return self._memory[start : start + min(length, _ID_BYTES)].decode("utf-8", "replace") if length else None

    def copy(self, index: int) -> bytes | None:
        """Return the message that child `index` kept here, because nobody else has it."""
        base = index * _COPY_BYTES
        (length,) = _COPY_LENGTH.unpack_from(self._copies, base)
        return self._copies[base + _COPY_LENGTH.size : base + _COPY_LENGTH.size + length] if length else None

    def _about(self, base: int) -> About | None:
        (length,) = _LENGTH.unpack_from(self._memory, base + _ABOUT_AT)
        start = base + _ABOUT_AT + _LENGTH.size
        text = self._memory[start : start + min(length, _ABOUT_BYTES)].decode("utf-8", "replace")
        return About.read(text) if text else None

    def clear_run(self, index: int) -> None:
        """Mark a slot idle and not ready, once its child is dead; its totals stay."""
        slot = self.read(index)
        _NUMBERS.pack_into(self._memory, _base(index), slot.processed, slot.failed, 0, 0.0, 0)
        _LENGTH.pack_into(self._memory, _base(index) + _NUMBERS.size, 0)
        _LIMIT.pack_into(self._memory, _base(index) + _LIMIT_AT, 0.0, 0.0)
        _COPY_LENGTH.pack_into(self._copies, index * _COPY_BYTES, 0)

    def pen(self, index: int) -> Pen:
        """Return the writer of a slot, for its child alone."""
        tally = self.tallies.tally(index) if self.tallies is not None else None
        return Pen(self._memory, self._copies, index, self.read(index), self._ring, tally)


def _tick(memory: mmap.mmap, seen: int = 0) -> int:
    """No lock: two processes that tick at the same moment may get the same number: neither was first."""
    clock = max(_CLOCK.unpack_from(memory, _CLOCK_AT)[0], seen) + 1
    _CLOCK.pack_into(memory, _CLOCK_AT, clock & 0x7FFFFFFFFFFFFFFF)
    return int(clock)


def _base(index: int) -> int:
    return _HEAD_BYTES + index * _SLOT_BYTES


class Pen:
    """Writes one slot."""

    __slots__ = (
        "_base",
        "_copies",
        "_copy_base",
        "_failed",
        "_has_more",
        "_held",
        "_memory",
        "_processed",
        "_ring",
        "_state",
        "tally",
    )

    def __init__(
        self,
        memory: mmap.mmap,
        copies: mmap.mmap,
        index: int,
        before: Slot,
        ring: Callable[[], None],
        tally: Tally | None = None,
    ) -> None:
        self.tally = tally
        self._ring = ring
        self._copies = copies
        self._copy_base = index * _COPY_BYTES
        self._memory = memory
        self._base = _base(index)
        self._processed, self._failed = before.processed, before.failed
        self._held = 0
        self._state = 0
        self._has_more = False

    @property
    def events_wanted(self) -> bool:
        """Whether task events are to be published."""
        return self._memory[0] != 0

    def tick(self) -> int:
        """Move the worker's logical clock, and return it."""
        return _tick(self._memory)

    def ready(self) -> None:
        """Say that this child claims."""
        self._state = READY
        self._write(0.0)

    def holding(self, count: int) -> None:
        """Say how many claims this child has."""
        self._held = count
        if not count:  # nothing starts soon that would write it: an idle worker must not look busy
            self._write(0.0)

    def start(self, task_id: str, about: str = "", marks: int = 0) -> None:
        """Say which task starts now: the id first, so that a death right after never blames the previous task."""
        self._state = self._state & READY | marks
        raw = about.encode(errors="replace")[:_ABOUT_BYTES]
        at = self._base + _ABOUT_AT
        _LENGTH.pack_into(self._memory, at, len(raw))
        self._memory[at + _LENGTH.size : at + _LENGTH.size + len(raw)] = raw
        raw = task_id.encode()[:_ID_BYTES]
        at = self._base + _NUMBERS.size
        self._memory[at + _LENGTH.size : at + _LENGTH.size + len(raw)] = raw
        _LENGTH.pack_into(self._memory, at, len(raw))
        self._write(time.monotonic())

    def limit(self, seconds: float) -> None:
        """Say how long the task that starts now may take."""
        self._has_more = True
        _LIMIT.pack_into(self._memory, self._base + _LIMIT_AT, time.monotonic() + seconds, seconds)
        if seconds < SOON_SECONDS:
            self._ring()

    def keep(self, copy: bytes) -> None:
        """Keep the message of the task that starts now, because nobody else has it; one that is too long is not."""
        if len(copy) <= _COPY_BYTES - _COPY_LENGTH.size:
            self._has_more = True
            at = self._copy_base + _COPY_LENGTH.size
            self._copies[at : at + len(copy)] = copy
            _COPY_LENGTH.pack_into(self._copies, self._copy_base, len(copy))

    def acknowledged(self) -> None:
        """Say that the task that runs has acknowledged its message itself."""
        self._state = self._state & READY | EARLY
        self._memory[self._base + _STATE_AT] = self._state

    def end(self, *, failed: bool) -> None:
        """Say that the task has ended."""
        if self._has_more:
            self._has_more = False
            _LIMIT.pack_into(self._memory, self._base + _LIMIT_AT, 0.0, 0.0)
            _COPY_LENGTH.pack_into(self._copies, self._copy_base, 0)
        self._processed += 1
        self._failed += failed
        self._write(0.0)

    def parked(self, task_name: str) -> None:
        """Say that a task of this name is not known here."""
        _UNKNOWN.pack_into(self._memory, self._base + _UNKNOWN_AT, time.monotonic(), task_name.encode())

    def settled(self) -> None:
        """Say that the last task is settled as well: a death from now on has no started task."""
        _LENGTH.pack_into(self._memory, self._base + _NUMBERS.size, 0)

    def _write(self, started_at: float) -> None:
        _NUMBERS.pack_into(self._memory, self._base, self._processed, self._failed, self._held, started_at, self._state)
