"""Locks of running tasks: taken and freed by the process that runs them, kept alive by its supervisor.

A task may hold the GIL for minutes, so a thread beside it could not renew its lock. The process tells its supervisor,
over a pipe, what it holds; the supervisor renews that at a third of its time, and frees at once what a dead process
held. When the supervisor dies too (the pod, the node), the lock is free when its time is over.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from longshore.exceptions import BackendError
from longshore.stores.port import Store

logger = logging.getLogger("longshore.worker")

_RENEWALS_IN_TIMEOUT = 3
_RETRY_SECONDS = 1.0
_PIPE_READ = 65_536


@dataclass(frozen=True, slots=True)
class Hold:
    """A lock that this process has for one run. `holder` names the claim: a second delivery is another holder."""

    name: str
    holder: str
    timeout: float


def new_holder(worker: str, task_id: str) -> str:
    """Return a name that no other claim has."""
    return f"{worker}:{task_id}:{uuid.uuid4().hex[:12]}"


class LockPipe:
    """From the processes to their supervisor: lines no longer than what a pipe takes whole (`PIPE_BUF`)."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        for end in (self.reader, self.writer):
            os.set_blocking(end, False)

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reader)
        os.close(self.writer)

    def taken(self, hold: Hold) -> None:
        """Say that this process holds a lock."""
        self._write(f"+\t{os.getpid()}\t{hold.timeout!r}\t{hold.holder}\t{_line(hold.name)}\n")

    def freed(self, hold: Hold) -> None:
        """Say that it holds it no more."""
        self._write(f"-\t{os.getpid()}\t0\t{hold.holder}\t{_line(hold.name)}\n")

    def _write(self, line: str) -> None:
        try:
            os.write(self.writer, line.encode())
        except OSError as error:  # full, since the supervisor stands still: the lock is not renewed
            logger.error("a lock cannot be kept alive, the supervisor does not listen: %s", error)


@dataclass(slots=True)
class _Kept:
    hold: Hold
    pid: int
    renew_at: float


class LockKeeper:
    """Renews the locks of a worker's processes, in a thread of the supervisor."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self.pipe = LockPipe()
        self._open_store = open_store
        self._store: Store | None = None
        self._kept: dict[str, _Kept] = {}
        self._rest = b""
        self._dead: list[int] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._broken = False

    def start(self) -> None:
        """Begin to listen."""
        self._thread = threading.Thread(target=self._run, name="locks", daemon=True)
        self._thread.start()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Hold the keeper between two of its calls while the caller forks."""
        with self._lock:
            yield

    def died(self, pid: int) -> None:
        """Free what a dead process held."""
        self._dead.append(pid)
        self._ring()

    def stop(self) -> None:
        """Free what is left of dead processes, and end."""
        self._stopping = True
        self._ring()
        if self._thread is not None:
            self._thread.join(timeout=10)
            if not self._thread.is_alive():
                self.pipe.close()
        if self._store is not None:
            self._store.close()

    def _ring(self) -> None:
        if self._thread is not None:
            self.pipe._write("\n")  # noqa: SLF001 - an empty line only wakes

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self.pipe.reader, select.POLLIN)
        while not (self._stopping and not self._dead):
            poll.poll(self._patience() * 1000)
            with self._lock:
                self._step()
                if self._stopping:
                    return

    def _step(self) -> None:
        dead, self._dead = self._dead, []
        self._read()
        now = time.monotonic()
        for kept in [kept for kept in self._kept.values() if kept.pid in dead]:
            self._free(kept)
        for kept in [kept for kept in self._kept.values() if kept.renew_at <= now]:
            self._renew(kept, now)

    def _patience(self) -> float:
        due = min((kept.renew_at for kept in self._kept.values()), default=None)
        return 60.0 if due is None else max(due - time.monotonic(), 0.0)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.pipe.reader, _PIPE_READ)
            except BlockingIOError:
                break
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._heard(line.decode())

    def _heard(self, line: str) -> None:
        if not line:
            return
        what, pid, timeout, holder, name = line.split("\t", 4)
        if what == "-":
            self._kept.pop(holder, None)
            return
        hold = Hold(name, holder, float(timeout))
        self._kept[holder] = _Kept(hold, int(pid), time.monotonic() + hold.timeout / _RENEWALS_IN_TIMEOUT)

    def _renew(self, kept: _Kept, now: float) -> None:
        hold = kept.hold
        kept.renew_at = now + min(hold.timeout / _RENEWALS_IN_TIMEOUT, _RETRY_SECONDS)
        try:
            ours = self._at_store().renew(hold.name, hold.holder, expires=hold.timeout)
        except BackendError as error:
            if not self._broken:
                logger.warning("lock %s cannot be renewed: %s", hold.name, error)
            self._broken = True
            return
        self._broken = False
        kept.renew_at = now + hold.timeout / _RENEWALS_IN_TIMEOUT
        if not ours:
            del self._kept[hold.holder]
            logger.error("lock %s was lost while its task ran: another task may hold it now", hold.name)

    def _free(self, kept: _Kept) -> None:
        del self._kept[kept.hold.holder]
        try:
            self._at_store().release(kept.hold.name, kept.hold.holder)
        except BackendError as error:
            logger.warning("lock %s of a dead process is freed by its time-out: %s", kept.hold.name, error)

    def _at_store(self) -> Store:
        if self._store is None:
            self._store = self._open_store()
        return self._store


def _line(name: str) -> str:
    """A name as the last field of a line: only the line's own end must not be in it."""
    return name.replace("\n", "\\n")
