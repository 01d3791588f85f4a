"""The thread that keeps consumers' connections alive while a task keeps the main thread busy.

It writes heartbeat frames and never reads. It needs the GIL for a moment every `heartbeat / 2` seconds: code that
holds the GIL for longer than a heartbeat risks its claims (`docs`: the capability table). One thread serves all
connections of a process; it starts with the first one and ends after the last one.
"""

from __future__ import annotations

import os
import threading

from longshore.brokers.rabbitmq.connection import Connection


class Heartbeats:
    """Who is kept alive in this process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: a forked child inherits the set and perhaps a held lock, but not the thread."""
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, connection: Connection) -> None:
        """Keep a connection alive from now on."""
        if connection.heartbeat <= 0:
            return
        with self._lock:
            self._connections.add(connection)
            self._changed.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="longshore-amqp-heartbeat", daemon=True)
                self._thread.start()

    def remove(self, connection: Connection) -> None:
        """Let go of a connection."""
        with self._lock:
            self._connections.discard(connection)
            self._changed.set()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._connections = {c for c in self._connections if c.lost is None}
                if not self._connections:
                    self._thread = None
                    return
                alive = list(self._connections)
                self._changed.clear()
            for connection in alive:
                connection.beat()
            self._changed.wait(min(connection.heartbeat for connection in alive) / 2)


HEARTBEATS = Heartbeats()
os.register_at_fork(after_in_child=HEARTBEATS.reset)
