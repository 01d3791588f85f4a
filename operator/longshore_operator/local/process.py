"""One worker as a local process: start it tied to this one, tell it to drain, kill it with its children, read its end.

Knows processes and signals; knows nothing of pools, pods or why somebody wants it to end.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longshore_operator.local import launch

TAIL_BYTES = 16_384
LOG_BYTES = 10_000_000
"""A log that is longer when a worker starts makes room; the one before it is kept."""


@dataclass(frozen=True, slots=True)
class LastWords:
    """What a worker says of itself when it ends in good order."""

    worker: str
    processed: int


class WorkerProcess:
    """A running worker: a supervisor and its children, in a process group of their own.

    Its own group keeps a terminal's Ctrl-C away from it: who drains, and when, is decided here.
    """

    def __init__(self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> None:
        self.log = log
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        python = [sys.executable, "-m", "longshore", *arguments]
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._popen = subprocess.Popen(
                [sys.executable, "-m", launch.MODULE, str(os.getpid()), *python],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """The supervisor's pid, which is its group's too."""
        return self._popen.pid

    def poll(self) -> int | None:
        """Return the exit code, `None` while it runs."""
        if self._popen.returncode is None and self._popen.poll() is not None:
            self._signal_group(signal.SIGKILL)  # a supervisor that was killed leaves no children behind
        return self._popen.returncode

    def drain(self) -> None:
        """Ask it to finish what runs and end."""
        if self._popen.returncode is None:
            self._popen.terminate()

    def kill(self) -> None:
        """End it and its children at once; their claims go back to the queue."""
        if self._popen.returncode is None:
            self._signal_group(signal.SIGKILL)

    def last_line(self) -> str:
        """Return the last thing that it said, for a person who asks why it ended."""
        lines = self._tail()
        return readable(lines[-1]) if lines else ""

    def last_words(self) -> LastWords | None:
        """Return its figures once it has ended; `None` where it was killed or logs no such line as JSON."""
        return next(filter(None, map(last_words, reversed(self._tail()))), None)

    def _tail(self) -> list[str]:
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - TAIL_BYTES))
            return log.read().decode(errors="replace").strip().splitlines()

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)


def readable(line: str) -> str:
    """Return the message of a line of a worker's log, JSON or not, without the program's name before it."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line.strip().removeprefix("longshore: ").removeprefix("Error: ")
    return str(entry.get("message", line)) if isinstance(entry, dict) else line.strip()


def last_words(line: str) -> LastWords | None:
    """Return the figures of the line that ends a worker's log; `None` for any other line."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or entry.get("logger") != "longshore.worker":
        return None
    worker, processed = entry.get("worker"), entry.get("processed")
    return LastWords(worker, processed) if isinstance(worker, str) and isinstance(processed, int) else None
