"""The gate: one writer at a time, in its turn, with a deadline. A lock on a file beside the database.

SQLite's own lock lets two writers starve each other for hundreds of milliseconds; this one hands over in turn. Knows
nothing of SQL.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from longshore.exceptions import BrokerUnavailable

_FIRST_PAUSE = 0.00002
_LONGEST_PAUSE = 0.001


class Gate:
    """An exclusive lock among processes and among the connections of one process; not re-entrant."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def acquire(self, timeout: float) -> None:
        """Wait for the turn; raise `BrokerUnavailable` that names the holder after `timeout` seconds."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait(timeout)

    def release(self) -> None:
        """Let the next one write."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let the next one write, and close the descriptor."""
        self.release()
        os.close(self._fd)

    def _wait(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while True:
            time.sleep(pause)
            try:
                return fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"{self._path} has been held for {timeout:g} s by {self._holder()}; end or resume that process"
                )

    def _holder(self) -> str:
        """Who has the lock, as far as the kernel tells: ``/proc/locks`` costs nothing until somebody waits in vain."""
        inode = f":{os.fstat(self._fd).st_ino} "
        try:
            lines = [line.split() for line in Path("/proc/locks").read_text().splitlines() if inode in line]
            pids = [words[4] for words in lines if words[1] == "FLOCK"]
            command = Path(f"/proc/{pids[0]}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, IndexError):
            return "another process"
        return f"process {pids[0]} ({command.strip()[:100]})"
