"""Waking who waits: a FIFO a queue, rung after a commit, heard by the `poll` of an idle consumer at no cost of CPU.

A ring may get lost (nobody listened, the listener died with it): nobody waits on a bell alone. Where the file system
has no FIFOs every ring is silent, and opening a bell to listen says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

QUEUE_BELLS = 256
"""Queues beyond that share bells, since descriptors are few: a listener may take the ring that was for another one, who
then finds its message by looking, a little later.
"""
_SMALL_PIPE = 4096


def queue_bell(number: int) -> int:
    """Return the name of a queue's bell."""
    return number % QUEUE_BELLS


def bell_path(folder: Path, name: object) -> str:
    """Return where a bell is."""
    return f"{folder}/bell.{name}"


class Bell:
    """One to listen to. Raises `OSError` where the file system has no FIFOs."""

    def __init__(self, folder: Path, name: object) -> None:
        self.name = name
        self.path = bell_path(folder, name)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self.path, 0o666)
        self.fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _SMALL_PIPE)

    def hush(self) -> bool:
        """Take every ring out; return whether there was one. Of several listeners one gets it, and looks for all."""
        try:
            return bool(os.read(self.fd, _SMALL_PIPE))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Stop listening."""
        os.close(self.fd)


class Ringer:
    """Rings bells, and keeps those open that somebody listens to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fds: dict[object, int] = {}

    def ring(self, names: Iterable[object]) -> None:
        """Ring each bell. That nobody listens, or that it rings already, is fine."""
        for name in names:
            if not self._ring(name):
                self._ring(name)

    def close(self) -> None:
        """Close what is open."""
        while self._fds:
            os.close(self._fds.popitem()[1])

    def _ring(self, name: object) -> bool:
        """Return false when the listener had gone: perhaps another one came, so try again with a new descriptor."""
        fd = self._fds.get(name)
        fd = self._open(name) if fd is None else fd
        if fd is None:
            return True
        try:
            os.write(fd, b"!")
        except BlockingIOError:
            pass
        except OSError:
            os.close(self._fds.pop(name))
            return False
        return True

    def _open(self, name: object) -> int | None:
        """Open for writing only, which fails while nobody listens."""
        try:
            fd = os.open(bell_path(self._folder, name), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        self._fds[name] = fd
        return fd
