"""Kills a random worker process every few seconds, with SIGKILL: the figures must not change. Linux only (/proc)."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from pathlib import Path


class Chaos:
    """Kills below one `longshore dev` process until it is stopped; `kills` counts the hits."""

    def __init__(self, root: int, interval: float) -> None:
        self.kills = 0
        self._root = root
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; no kill follows."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            victims = worker_children(self._root)
            if victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(random.choice(victims), signal.SIGKILL)
                    self.kills += 1


def worker_children(root: int) -> list[int]:
    """Return the processes that run tasks: the children of the supervisors, which are children of `longshore dev`."""
    parents = _parents()
    supervisors = {pid for pid, parent in parents.items() if parent == root}
    return [pid for pid, parent in parents.items() if parent in supervisors]


def _parents() -> dict[int, int]:
    """Return the parent of every process that still runs (a zombie does not)."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents[int(folder.name)] = int(parent)
    return parents
