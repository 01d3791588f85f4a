"""The folder in which a local run keeps everything: the broker, the results, logs, and a lock with its holder's pid.

One `longshore dev` works on a folder at a time; the next one goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from longshore.exceptions import LongshoreError

DEFAULT_STATE = ".longshore"


class StateError(LongshoreError):
    """The state folder cannot be used; one line says why and what to do."""


class StateFolder:
    """A locked state folder. Closing it, or the death of this process, frees it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = -1

    def open(self) -> None:
        """Make the folder and take its lock; raise `StateError` when that is not possible."""
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            self._ignore_in_git()
            self._lock = os.open(self.path / "dev.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StateError(
                f"state folder {self.path} cannot be used: {error.strerror}; choose another with --state DIR"
            ) from None
        self._take_lock()

    def close(self) -> None:
        """Free the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def logs(self) -> Path:
        """The folder of the workers' logs."""
        return self.path / "logs"

    @property
    def broker_url(self) -> str:
        """The address of this folder's SQLite broker."""
        return f"sqlite:///{self.path / 'broker.db'}"

    @property
    def results_url(self) -> str:
        """The address of this folder's SQLite result backend."""
        return f"sqlite:///{self.path / 'results.db'}"

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            self.close()
            raise StateError(
                f"state folder {self.path} is in use by another `longshore dev` (pid {holder}); "
                "stop that one, or choose another folder with --state DIR"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _ignore_in_git(self) -> None:
        ignore = self.path / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
