"""Start processes that outlive the command that started them, and end exactly those.

A process is known by its number and its start time together: a number alone may belong to somebody else by the time
we come back to end it. Nothing is ever ended by its name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lab.shell import LabError

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Children of this very program: kept so that they are reaped here, and Python does not warn of them as forgotten."""


@dataclass(frozen=True)
class Identity:
    """Which process exactly."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Whether that process still runs; one that waits to be reaped does not."""
        state, started = _state_and_start(self.pid)
        return started == self.started and state not in ("Z", "X")

    def send(self, number: signal.Signals) -> None:
        """Signal the process, if it is still the same one."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def identify(pid: int) -> Identity:
    """The identity of a process that runs now."""
    return Identity(pid, _state_and_start(pid)[1])


def end(process: Identity, grace: float) -> None:
    """Ask a process to end, insist after `grace` seconds, and return when it is gone."""
    if grace > 0:
        process.send(signal.SIGTERM)
    if grace <= 0 or not _gone_within(process, grace):
        process.send(signal.SIGKILL)
        if not _gone_within(process, 10):
            raise LabError(f"process {process.pid} does not end, not even by SIGKILL")
    child = _children.pop(process.pid, None)
    if child:
        child.wait()


def children_of(pid: int) -> list[int]:
    """The numbers of the direct children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


class Processes:
    """The processes of one lab, each with a name, a file that holds its identity, and a log."""

    def __init__(self, folder: Path) -> None:
        self._identities = folder / "processes"
        self.logs = folder / "logs"

    def start(self, name: str, *command: str | Path | int) -> None:
        """Start a process in a session of its own, so that Ctrl-C in a terminal does not reach it."""
        for folder in (self._identities, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _children[process.pid] = process
        identity = identify(process.pid)
        (self._identities / name).write_text(f"{identity.pid} {identity.started}\n")

    def stop(self, name: str, grace: float = 10) -> None:
        """End a process; nothing to do when it was never started or is gone."""
        identity = self.identity(name)
        if identity:
            end(identity, grace)
            (self._identities / name).unlink()

    def identity(self, name: str) -> Identity | None:
        """Which process was started under this name."""
        try:
            pid, started = (self._identities / name).read_text().split()
        except FileNotFoundError:
            return None
        return Identity(int(pid), started)

    def alive(self, name: str) -> bool:
        """Whether the process of this name runs."""
        identity = self.identity(name)
        return identity is not None and identity.alive

    def names(self) -> list[str]:
        """The names of all processes that were started and not stopped."""
        return sorted(file.name for file in self._identities.glob("*"))

    def require(self, name: str) -> None:
        """Fail with the end of its log if a process has ended by itself: waiting any longer would be in vain."""
        if not self.alive(name):
            raise LabError(f"{name} has ended: {self.last_words(name)}")

    def last_words(self, name: str) -> str:
        """The end of a process's log."""
        try:
            return (self.logs / f"{name}.log").read_text(errors="replace")[-1500:].strip()
        except FileNotFoundError:
            return "it wrote no log"


def _state_and_start(pid: int) -> tuple[str, str]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return "", "gone"
    return fields[0], fields[19]


def _gone_within(process: Identity, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while process.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
