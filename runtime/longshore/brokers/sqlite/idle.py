"""An idle consumer's sleep: it ends with a bell, the wake descriptor, a peer's death or the time, and burns no CPU.

Bells are a matter of speed, never of truth: a look at the file's version four times a second finds what no bell told.
"""

from __future__ import annotations

import select
from collections.abc import Sequence

from longshore.brokers.sqlite.bells import Bell, queue_bell
from longshore.brokers.sqlite.database import Database

LOOK_SECONDS = 0.25
LOOK_SECONDS_WITHOUT_BELLS = 0.005


class Idle:
    """The descriptors of one consumer that sleeps."""

    def __init__(self, database: Database, queues: Sequence[int], peers_fd: int, wake_fd: int | None) -> None:
        self._database = database
        self._poll = select.poll()
        self._wake_fd = wake_fd
        self._peers_fd = peers_fd
        self._bells: dict[int, Bell] = {}
        self._version = (0, 0, 0)
        self._look = LOOK_SECONDS
        try:
            for name in {queue_bell(queue) for queue in queues}:
                bell = Bell(database.folder, name)
                self._bells[bell.fd] = bell
        except OSError:
            self._look = LOOK_SECONDS_WITHOUT_BELLS
        for fd in (*self._bells, peers_fd, *(() if wake_fd is None else (wake_fd,))):
            self._poll.register(fd, select.POLLIN)

    def sleep(self, seconds: float) -> Awake:
        """Sleep until something happens, `seconds` at most; say what."""
        ready = {fd for fd, _ in self._poll.poll(max(min(seconds, self._look), 0.0) * 1000)}
        heard = [self._bells[fd].name for fd in ready & self._bells.keys() if self._bells[fd].hush()]
        return Awake(heard, self._wake_fd in ready, self._peers_fd in ready)

    def changed(self) -> bool:
        """Whether anybody has written since the last look."""
        version = self._database.version()
        changed, self._version = version != self._version, version
        return changed

    def close(self) -> None:
        """Stop listening."""
        for bell in self._bells.values():
            bell.close()
        self._bells.clear()


class Awake:
    """Why a sleep ended: bells, the wake descriptor, a peer's death; nothing of that is the time."""

    __slots__ = ("bells", "called", "peer_died")

    def __init__(self, bells: list[object], called: bool, peer_died: bool) -> None:
        self.bells = bells
        self.called = called
        self.peer_died = peer_died
