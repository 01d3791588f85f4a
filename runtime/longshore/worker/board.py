"""The board: what each child is doing, in memory that it shares with its supervisor.

A child writes its own slot with plain stores, no lock and no system call, so that it costs the hot path nothing; the
supervisor reads it for reports and probes, and after a death, to know which task had started.
"""

from __future__ import annotations

import mmap
import struct
import time
from dataclasses import dataclass

_NUMBERS = struct.Struct("<QQQdB")  # processed, failed, held, started_at (monotonic; 0 = idle), ready
_ID_BYTES = 256
_SLOT_BYTES = 512
_LENGTH = struct.Struct("<H")
_UNKNOWN_AT = 320
_UNKNOWN = struct.Struct("<d160p")  # when a task was parked last, and its name


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

    @property
    def busy(self) -> bool:
        """Whether a task runs there."""
        return self.started_at > 0


class Board:
    """`slots` rows of shared memory, inherited by fork."""

    def __init__(self, slots: int) -> None:
        self._memory = mmap.mmap(-1, slots * _SLOT_BYTES)
        self.slots = slots

    def read(self, index: int) -> Slot:
        """Return what child `index` last wrote."""
        base = index * _SLOT_BYTES
        processed, failed, held, started_at, ready = _NUMBERS.unpack_from(self._memory, base)
        (length,) = _LENGTH.unpack_from(self._memory, base + _NUMBERS.size)
        start = base + _NUMBERS.size + _LENGTH.size
        task_id = self._memory[start : start + min(length, _ID_BYTES)].decode("utf-8", "replace") if length else None
        unknown_at, unknown = _UNKNOWN.unpack_from(self._memory, base + _UNKNOWN_AT)
        return Slot(
            processed, failed, held, started_at, bool(ready), task_id, unknown.decode("utf-8", "replace"), unknown_at
        )

    def clear_run(self, index: int) -> None:
        """Mark a slot idle and not ready, once its child is dead; its totals stay."""
        slot = self.read(index)
        _NUMBERS.pack_into(self._memory, index * _SLOT_BYTES, slot.processed, slot.failed, 0, 0.0, 0)
        _LENGTH.pack_into(self._memory, index * _SLOT_BYTES + _NUMBERS.size, 0)

    def pen(self, index: int) -> Pen:
        """Return the writer of a slot, for its child alone."""
        return Pen(self._memory, index, self.read(index))


class Pen:
    """Writes one slot."""

    __slots__ = ("_base", "_failed", "_held", "_memory", "_processed", "_ready")

    def __init__(self, memory: mmap.mmap, index: int, before: Slot) -> None:
        self._memory = memory
        self._base = index * _SLOT_BYTES
        self._processed, self._failed = before.processed, before.failed
        self._held = 0
        self._ready = 0

    def ready(self) -> None:
        """Say that this child claims."""
        self._ready = 1
        self._write(0.0)

    def holding(self, count: int) -> None:
        """Say how many claims this child has."""
        self._held = count
        if not count:  # nothing starts soon that would write it: an idle worker must not look busy
            self._write(0.0)

    def start(self, task_id: str) -> None:
        """Say which task starts now: the id first, so that a death right after never blames the previous task."""
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
