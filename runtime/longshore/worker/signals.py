"""Signals as readable descriptors, and the tie between a child and its supervisor."""

from __future__ import annotations

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

    def wait(self, seconds: float) -> None:
        """Sleep until a signal came or `seconds` are over, and empty the pipe."""
        if select.select([self.fd], [], [], max(0.0, seconds))[0]:
            os.read(self.fd, 4096)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends (prctl(2), PR_SET_PDEATHSIG): no orphan keeps working."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent or parent == 1:  # it ended before the call
        os._exit(0)
