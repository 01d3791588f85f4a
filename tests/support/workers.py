"""Real worker processes for tests: started with the real command, ended by their pid."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[2]
SOURCES = os.pathsep.join(str(ROOT / folder) for folder in ("", "runtime", "operator"))
"""What the processes of a test import: this checkout, whichever one the environment has installed."""
T = TypeVar("T")


def wait_for(what: str, condition: Callable[[], T], timeout: float = 30.0) -> T:
    """Return the first truthy value of `condition`; fail after `timeout` seconds, saying what was awaited."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s (last: {value!r})")
        time.sleep(0.01)
    return value


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped yet has ended too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Worker:
    """One `longshore worker` with its children."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log_file = log

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def children(self) -> list[int]:
        try:
            text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or before it was read
            return []
        return [int(pid) for pid in text.split()]

    def ready(self) -> Worker:
        def is_ready() -> bool:
            assert self.process.poll() is None, f"the worker ended: {self.log}"
            return "ready" in self.log

        wait_for("worker ready", is_ready)
        return self

    def terminate(self, timeout: float = 30.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """Kill the supervisor alone; its children must follow by themselves."""
        self.process.kill()
        self.process.wait()


def start_worker(app: str, *options: str, broker: str, log: Path, environ: Mapping[str, str] | None = None) -> Worker:
    """Start a worker of `app`; who starts it ends it."""
    command = [sys.executable, "-m", "longshore", "worker", app, "-b", broker, *options]
    environment = {**os.environ, "PYTHONPATH": SOURCES, "PYTHONWARNINGS": "error", **(environ or {})}
    with log.open("a") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment, text=True
        )
    return Worker(process, log)


@contextlib.contextmanager
def running_worker(
    app: str, *options: str, broker: str, log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Worker]:
    """Run a worker of `app`; afterwards nothing of it is left."""
    worker = start_worker(app, *options, broker=broker, log=log, environ=environ)
    process = worker.process
    try:
        yield worker
    finally:
        children = worker.children()
        if process.poll() is None:
            process.kill()
        process.wait()
        for pid in children:
            wait_for(f"child {pid} gone", lambda pid=pid: is_gone(pid), 5)


def run_command(
    *words: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `longshore` with these words and return what it said."""
    return subprocess.run(
        [sys.executable, "-m", "longshore", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": SOURCES, **(environ or {})},
        cwd=cwd,
    )
