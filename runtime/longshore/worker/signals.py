"""Signals as readable descriptors, and the tie between a child and its supervisor."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1


class WakePipe:
    """A pipe that every handled signal writes to, so that a wait ends at once and none is missed in between."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self) -> None:
        """Let this process's signals write to the pipe."""
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)

    def ring(self) -> None:
        """Wake whoever waits, from any thread; a full pipe is awake already."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._write_fd, b"!")

    def wait(self, seconds: float) -> None:
        """Sleep until a signal came or somebody rang, or `seconds` are over, and empty the pipe."""
        if select.select([self.fd], [], [], max(0.0, seconds))[0]:
            os.read(self.fd, 4096)


def die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends (prctl(2), PR_SET_PDEATHSIG): no orphan keeps working.

    `parent` is the pid that the parent noted before it forked: it may have ended before this call. In a container it is
    1, like the process that adopts orphans elsewhere.
    """
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
