"""Waiting for results where nobody rings: looks that grow rarer, one for all that are waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from longshore.results.port import ResultBackend, ResultMeta

ENDED = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
_AT_ONCE = 1000
_FIRST_LOOK, _LAST_LOOK, _RARER = 0.01, 0.25, 1.3
_BETWEEN_LOOKS = 0.05


def poll(look: Callable[[], ResultMeta | None], timeout: float | None) -> ResultMeta | None:
    """Look until there is something, soon at first and four times a second in the end."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_LOOK
    while (found := look()) is None:
        left = pause if deadline is None else deadline - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(pause, left))
        pause = min(pause * _RARER, _LAST_LOOK)
    return found


def wait_for_all(backend: ResultBackend, task_ids: Sequence[str], timeout: float | None) -> dict[str, ResultMeta]:
    """Wait for the ends of many tasks; return those that have ended, all of them unless the time was over.

    Sleeps on one of them, then asks for all the others at once, at most 20 times a second: however many there are, the
    server sees one question at a time.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    ended: dict[str, ResultMeta] = {}
    pending = list(dict.fromkeys(task_ids))
    while pending:
        ended.update(ended_of(backend, pending))
        pending = [task_id for task_id in pending if task_id not in ended]
        left = None if deadline is None else deadline - time.monotonic()
        if not pending or (left is not None and left <= 0):
            return ended
        began = time.monotonic()
        backend.wait(pending[0], left)
        rest = _BETWEEN_LOOKS - (time.monotonic() - began)
        if len(pending) > 1 and rest > 0:
            time.sleep(rest if left is None else min(rest, left))
    return ended


def ended_of(backend: ResultBackend, task_ids: Sequence[str]) -> dict[str, ResultMeta]:
    """Return those that have ended, with one question for a thousand of them."""
    found: dict[str, ResultMeta] = {}
    for start in range(0, len(task_ids), _AT_ONCE):
        some = task_ids[start : start + _AT_ONCE]
        metas = backend.fetch(some)
        found.update(
            {task_id: meta for task_id, meta in zip(some, metas, strict=True) if meta and meta.status in ENDED}
        )
    return found
