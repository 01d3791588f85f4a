"""The port between the runtime and a result backend. Bodies are Celery's, so that Celery clients read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

DEFAULT_EXPIRES_SECONDS = 86_400.0


class ResultMeta(msgspec.Struct, frozen=True, kw_only=True):
    """A task's stored state. `result` is JSON-able: the value, or {exc_type, exc_message, exc_module} of a failure."""

    task_id: str
    status: str
    result: Any = None
    traceback: str | None = None
    children: list[Any] = []
    date_done: str | None = None
    group_id: str | None = None
    parent_id: str | None = None
    name: str | None = None
    worker: str | None = None
    retries: int | None = None
    queue: str | None = None


class ResultBackend(Protocol):
    """Stores and finds states. Opens lazily, anew after a fork; every call has a deadline and raises `BackendError`."""

    url: str

    def store(self, metas: Sequence[ResultMeta], *, expires: float | None = DEFAULT_EXPIRES_SECONDS) -> None:
        """Store states, acknowledged when this returns. A stored SUCCESS is never overwritten."""

    def fetch(self, task_ids: Sequence[str]) -> list[ResultMeta | None]:
        """Return the state of each task, `None` where nothing is stored."""

    def wait(self, task_id: str, timeout: float | None) -> ResultMeta | None:
        """Wait for a task's end (SUCCESS, FAILURE, REVOKED) and return its state; `None` after `timeout` seconds."""

    def forget(self, task_ids: Sequence[str]) -> None:
        """Remove the stored states."""

    def close(self) -> None:
        """Close the connections of this process."""
