"""Worker processes of any system: started in a session of their own, watched, ended by pid.

Counts and notes come from files that the tasks write (`apps/counting.py`); nothing here asks a system how it is doing.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

from tests.bench.apps.counting import PAIR, SLOTS
from tests.bench.systems import Commands

APPS = Path(__file__).parent / "apps"


class Board:
    """The files in which tasks count and note."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "counts"
        self._file.write_bytes(bytes(SLOTS * 8))
        (folder / "notes").write_bytes(b"")
        with self._file.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SLOTS * 8)
        self._counts = memoryview(self._map).cast("Q")

    def total(self) -> int:
        """Return how many tasks have counted themselves."""
        return sum(self._counts[1 : self._counts[0] + 1])

    def noted(self) -> int:
        """Return how many notes there are."""
        return (self.folder / "notes").stat().st_size // PAIR.size

    def notes(self) -> list[tuple[float, float]]:
        """Return the notes."""
        return [(first, second) for first, second in PAIR.iter_unpack((self.folder / "notes").read_bytes())]


class Workers:
    """The processes of one trial; leaving the context ends them."""

    def __init__(
        self, commands: Commands, environment: dict[str, str], folder: Path, stop_signal: int, patience: float
    ) -> None:
        self._commands = commands
        self._environment = environment
        self._log = folder / "worker.log"
        self._stop_signal = stop_signal
        self._patience = patience
        self._processes: list[subprocess.Popen[bytes]] = []
        self.started_at = 0.0

    def __enter__(self) -> Self:
        self.started_at = time.perf_counter()
        with self._log.open("ab") as log:
            for command in self._commands:
                self._processes.append(
                    subprocess.Popen(
                        command, env=self._environment, cwd=self._log.parent, stdin=subprocess.DEVNULL, stdout=log,
                        stderr=log, start_new_session=True,
                    )
                )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End them in good order, then whatever is left of their sessions."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(self._stop_signal)
        deadline = time.monotonic() + self._patience
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.01))
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the session that we started, by its number
            process.wait()
        self._processes.clear()

    def trouble(self) -> str | None:
        """Return the end of the log when a worker has ended by itself."""
        if any(process.poll() is not None for process in self._processes):
            return f"a worker ended: {self.log_end()}"
        return None

    def log_end(self) -> str:
        """Return the last words of the workers."""
        return self._log.read_text(errors="replace").strip()[-400:]

    def pids(self) -> list[int]:
        """Return every process of these workers."""
        sessions = {process.pid for process in self._processes}
        return [pid for pid in _all_pids() if _session_of(pid) in sessions]

    def pss_bytes(self) -> int:
        """Return the memory of these processes, what they share counted once."""
        return sum(_pss_bytes(pid) for pid in self.pids())

    def cpu_seconds(self) -> float:
        """Return the processor time that they have used."""
        return sum(_cpu_seconds(pid) for pid in self.pids())


def _all_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _session_of(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[3]) if fields else -1


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _pss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
