"""The thread that looks after a process's consumers while tasks keep the main thread busy.

Every quarter of a second it asks each consumer to write a heartbeat when one is due, and to give back what was pushed
to it and nobody has asked for. It needs the GIL for a moment each time: a task that holds the GIL for longer than a
heartbeat risks its claims. One thread serves all consumers of a process; it starts with the first one and ends after
the last one.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol

TICK_SECONDS = 0.25


class Tended(Protocol):
    """What needs to be looked after."""

    def tend(self) -> None:
        """Do what is due, without waiting for anybody."""


class Tender:
    """Who is looked after in this process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: a forked child inherits the set and perhaps a held lock, but not the thread."""
        self._lock = threading.Lock()
        self._tended: set[Tended] = set()
        self._thread: threading.Thread | None = None

    def add(self, tended: Tended) -> None:
        """Look after this one from now on."""
        with self._lock:
            self._tended.add(tended)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="longshore-amqp-tender", daemon=True)
                self._thread.start()

    def remove(self, tended: Tended) -> None:
        """Let go of one."""
        with self._lock:
            self._tended.discard(tended)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            with self._lock:
                if not self._tended:
                    self._thread = None
                    return
                tended = list(self._tended)
            for each in tended:
                each.tend()
            pause.wait(TICK_SECONDS)


TENDER = Tender()
os.register_at_fork(after_in_child=TENDER.reset)
