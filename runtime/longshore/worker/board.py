"""The board: what each child is doing, in memory that it shares with its supervisor.

A child writes its own slot with plain stores, no lock and no system call, so that it costs the hot path nothing; the
supervisor reads it for reports and probes, and after a death, to know which task had started.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

_HEAD_BYTES = 64  # for all: whether task events are wanted, the logical clock
_CLOCK = struct.Struct("<Q")
_CLOCK_AT = 8
_NUMBERS = struct.Struct("<QQQdB")  # processed, failed, held, started_at (monotonic; 0 = idle), ready
_ID_BYTES = 256
_SLOT_BYTES = 4096
_LENGTH = struct.Struct("<H")
_UNKNOWN_AT = 320
_UNKNOWN = struct.Struct("<d160p")  # when a task was parked last, and its name
_ABOUT_AT = 512
_ABOUT_BYTES = _SLOT_BYTES - _ABOUT_AT - _LENGTH.size
_SPARE_SLOTS = 256
"""How many slots a worker may grow by; memory that nobody writes costs nothing."""
_SEPARATOR = "\0"


class About(NamedTuple):
    """What a run says of itself, for whoever looks at a worker."""

    name: str
    queue: str
    priority: int | None
    redelivered: bool
    acknowledged: bool
    args: str
    kwargs: str

    @classmethod
    def read(cls, text: str) -> About:
        """Read what `about` wrote; a text that was cut has less."""
        name, queue, priority, flags, args, kwargs = (text.split(_SEPARATOR) + [""] * 6)[:6]
        number = int(priority) if priority.isdecimal() else None
        return cls(name, queue, number, "r" in flags, "a" in flags, args, kwargs)


def about(name: str, queue: str, headers: Mapping[str, Any], priority: object, flags: str) -> str:
    """Return what a run says of itself, quickly. `flags`: r redelivered, a acknowledged."""
    return f"{name}\0{queue}\0{priority}\0{flags}\0{headers.get('argsrepr')}\0{headers.get('kwargsrepr')}"


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

    @property
    def busy(self) -> bool:
        """Whether a task runs there."""
        return self.started_at > 0


class Board:
    """Rows of shared memory, inherited by fork: `slots` are or were in use, `capacity` are."""

    def __init__(self, slots: int) -> None:
        self._memory = mmap.mmap(-1, _HEAD_BYTES + (slots + _SPARE_SLOTS) * _SLOT_BYTES)
        self._most = slots + _SPARE_SLOTS
        self._unused: list[int] = []
        self.slots = slots

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
        processed, failed, held, started_at, ready = _NUMBERS.unpack_from(self._memory, base)
        (length,) = _LENGTH.unpack_from(self._memory, base + _NUMBERS.size)
        start = base + _NUMBERS.size + _LENGTH.size
        task_id = self._memory[start : start + min(length, _ID_BYTES)].decode("utf-8", "replace") if length else None
        unknown_at, unknown = _UNKNOWN.unpack_from(self._memory, base + _UNKNOWN_AT)
        return Slot(
            processed,
            failed,
            held,
            started_at,
            bool(ready),
            task_id,
            unknown.decode("utf-8", "replace"),
            unknown_at,
            self._about(base) if task_id else None,
        )

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

    def pen(self, index: int) -> Pen:
        """Return the writer of a slot, for its child alone."""
        return Pen(self._memory, index, self.read(index))


def _tick(memory: mmap.mmap, seen: int = 0) -> int:
    """No lock: two processes that tick at the same moment may get the same number: neither was first."""
    clock = max(_CLOCK.unpack_from(memory, _CLOCK_AT)[0], seen) + 1
    _CLOCK.pack_into(memory, _CLOCK_AT, clock & 0x7FFFFFFFFFFFFFFF)
    return int(clock)


def _base(index: int) -> int:
    return _HEAD_BYTES + index * _SLOT_BYTES


class Pen:
    """Writes one slot."""

    __slots__ = ("_base", "_failed", "_held", "_memory", "_processed", "_ready")

    def __init__(self, memory: mmap.mmap, index: int, before: Slot) -> None:
        self._memory = memory
        self._base = _base(index)
        self._processed, self._failed = before.processed, before.failed
        self._held = 0
        self._ready = 0

    @property
    def events_wanted(self) -> bool:
        """Whether task events are to be published."""
        return self._memory[0] != 0

    def tick(self) -> int:
        """Move the worker's logical clock, and return it."""
        return _tick(self._memory)

    def ready(self) -> None:
        """Say that this child claims."""
        self._ready = 1
        self._write(0.0)

    def holding(self, count: int) -> None:
        """Say how many claims this child has."""
        self._held = count
        if not count:  # nothing starts soon that would write it: an idle worker must not look busy
            self._write(0.0)

    def start(self, task_id: str, about: str = "") -> None:
        """Say which task starts now: the id first, so that a death right after never blames the previous task."""
        raw = about.encode(errors="replace")[:_ABOUT_BYTES]
        at = self._base + _ABOUT_AT
        _LENGTH.pack_into(self._memory, at, len(raw))
        self._memory[at + _LENGTH.size : at + _LENGTH.size + len(raw)] = raw
        raw = task_id.encode()[:_ID_BYTES]
        at = self._base + _NUMBERS.size
        self._memory[at + _LENGTH.size : at + _LENGTH.size + len(raw)] = raw
        _LENGTH.pack_into(self._memory, at, len(raw))
        self._write(time.monotonic())

    def end(self, *, failed: bool) -> None:
        """Say that the task has ended."""
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
        _NUMBERS.pack_into(self._memory, self._base, self._processed, self._failed, self._held, started_at, self._ready)
