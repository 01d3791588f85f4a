"""The port between the runtime and a result backend. Bodies are Celery's, so that Celery clients read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from longshore.core.chord import Counted, Part

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
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    reply_to: str | None = None
    """The queue of a caller that wants the state as a message (``rpc://``); stored nowhere."""


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


@runtime_checkable
class ChordBackend(ResultBackend, Protocol):
    """A result backend that joins chords itself; with others, a task asks again and again (`celery.chord_unlock`)."""

    def start_chords(self, chords: Mapping[str, int], *, anew: bool, expires: float | None) -> None:
        """Note the sizes of chords by group id, before their parts are sent.

        `anew` forgets what is there of an earlier run with the same id; without it, a chord that is over stays over.
        """

    def grow_chord(self, group_id: str, task_id: str, *, expires: float | None) -> None:
        """Await one more part in a chord; saying it again for the same one changes nothing."""

    def count_parts(self, parts: Sequence[Part], *, expires: float | None) -> list[Counted]:
        """Take in parts that have ended; each answer says what is to be done about its chord's body."""

    def finish_chord(self, group_id: str, claimant: str, *, expires: float | None) -> None:
        """Mark a chord as over, if `claimant` still holds its dispatch."""


@runtime_checkable
class GroupBackend(ResultBackend, Protocol):
    """A result backend that keeps the ids of groups."""

    def save_group(self, group_id: str, result: Any, *, expires: float | None) -> None:
        """Keep a group's result tuple."""

    def restore_group(self, group_id: str) -> Any:
        """Return a kept result tuple, or `None`."""

    def delete_group(self, group_id: str) -> None:
        """Forget a kept group."""
