"""Who is alive, without leases and clocks: each owner of claims locks one byte of a file for as long as it lives.

The kernel drops the lock with the process, however it dies. Such a lock belongs to a process (a forked child does not
inherit it) and is lost when the process closes *any* descriptor of the file: so there is one descriptor a file and
process, and it is never closed.
"""

from __future__ import annotations

import fcntl
import os
import struct

_FLOCK = struct.Struct("hhqqi4x")


class LifeFile:
    """The bytes of one file; byte N is locked by the living owner N."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pid = os.getpid()
        self._mine: set[int] = set()

    def live(self, owner: int) -> None:
        """Lock the byte of an owner in this process."""
        self._forget_parents()
        fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, owner)
        self._mine.add(owner)

    def end(self, owner: int) -> None:
        """Unlock it: the owner is gone though its process lives."""
        self._forget_parents()
        if owner in self._mine:
            self._mine.discard(owner)
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, owner)

    def alive(self, owner: int) -> bool:
        """Whether the owner lives. A process never sees its own locks, hence the set."""
        self._forget_parents()
        if owner in self._mine:
            return True
        query = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, owner, 1, 0)
        kind = _FLOCK.unpack(fcntl.fcntl(self._fd, fcntl.F_GETLK, query))[0]
        return bool(kind != fcntl.F_UNLCK)

    def _forget_parents(self) -> None:
        if self._pid != (pid := os.getpid()):
            self._pid = pid
            self._mine = set()


_FILES: dict[tuple[int, int], LifeFile] = {}


def open_life_file(path: str) -> LifeFile:
    """Return this process's one handle on the file."""
    try:
        status = os.stat(path)  # noqa: PTH116
        known = _FILES.get((status.st_dev, status.st_ino))
        if known is not None:
            return known
    except FileNotFoundError:
        pass
    return _open(path)


def _open(path: str) -> LifeFile:
    """Two threads at once may both come here: the second one's descriptor stays open, unused, on purpose."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    status = os.fstat(fd)
    return _FILES.setdefault((status.st_dev, status.st_ino), LifeFile(fd))
