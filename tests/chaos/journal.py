"""Effects that survive a kill: one line a mark, in one write to a file opened for appending.

The kernel writes such a line whole or not at all, whoever dies. The file is not in the broker under test. Its times
are those of the machine's clock, which workers, senders and brokers share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

START, END = "start", "end"
POLL_SECONDS = 0.001


class Mark(NamedTuple):
    """A task started or ended, once."""

    kind: str
    number: int
    pid: int
    at: float
    deliveries: int = 0
    redelivered: bool = False


def line_of(mark: Mark) -> bytes:
    """Return a mark as it is written."""
    kind, number, pid, at, deliveries, redelivered = mark
    return f"{kind} {number} {pid} {at:.6f} {deliveries} {int(redelivered)}\n".encode()


def mark_of(line: bytes) -> Mark:
    """Read a line."""
    kind, number, pid, at, deliveries, redelivered = line.decode().split()
    return Mark(kind, int(number), int(pid), float(at), int(deliveries), redelivered == "1")


class Pen:
    """Writes marks; each process that forks gets a working one, because the descriptor is shared."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, kind: str, number: int, deliveries: int, redelivered: bool) -> None:
        """Note a mark, now."""
        os.write(self._file, line_of(Mark(kind, number, os.getpid(), time.time(), deliveries, redelivered)))


class Journal:
    """Reads what was written so far, as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.marks: list[Mark] = []
        self.started: set[int] = set()
        self.ended: set[int] = set()
        self._read = 0
        path.touch()

    def poll(self) -> list[Mark]:
        """Read what is new; return that."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        self._read += len(text)
        news = [mark_of(line) for line in text.splitlines()]
        for mark in news:
            (self.started if mark.kind == START else self.ended).add(mark.number)
        self.marks += news
        return news

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Poll until the condition holds; return whether it did within that time."""
        deadline = time.monotonic() + seconds
        while True:
            self.poll()
            if condition():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
