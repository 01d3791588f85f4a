"""Real processes for tests: forked, speaking through a pipe, ended by their pid."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

Say = Callable[[str], None]


class Child:
    """A process that runs `work(say)`; what it says arrives here line by line, also when it dies right after."""

    def __init__(self, work: Callable[[Say], object]) -> None:
        self._read, write = os.pipe()
        self._text = b""
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.close(self._read)
                work(lambda line: _say(write, line))
                code = 0
            finally:
                os._exit(code)
        os.close(write)

    def wait_for(self, lines: int, deadline: float = 10.0) -> list[str]:
        """Return everything said so far, as soon as it is that many lines."""
        until = time.monotonic() + deadline
        while len(said := self.said()) < lines:
            assert time.monotonic() < until, f"said only {said}"
            select.select([self._read], [], [], 0.05)
        return said

    def said(self) -> list[str]:
        """Return the whole lines so far."""
        while select.select([self._read], [], [], 0)[0]:
            chunk = os.read(self._read, 65536)
            if not chunk:
                break
            self._text += chunk
        return self._text.decode().split("\n")[:-1]

    def kill(self) -> list[str]:
        """Kill -9 without reaping wait for anything; return all that was said."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.reap()
        return self.said()

    def stop(self) -> None:
        """Freeze it."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def reap(self) -> int:
        """Wait for its end; return its exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _say(fd: int, line: str) -> None:
    os.write(fd, line.encode() + b"\n")
