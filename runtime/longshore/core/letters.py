"""Which dead letters somebody means. Pure: a message and a selection, no clock, no broker."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from longshore.message import DEAD_HEADER, Message


@dataclass(frozen=True, slots=True)
class Selection:
    """What has to hold of a letter; `None` and nothing are no condition."""

    ids: frozenset[str] = frozenset()
    task: str | None = None
    """A task's name, or a pattern such as ``shop.*``."""
    reason: str | None = None
    before: datetime | None = None
    after: datetime | None = None

    @property
    def is_everything(self) -> bool:
        """Whether every letter is meant."""
        return self == Selection()

    def takes(self, message: Message) -> bool:
        """Whether this letter is meant."""
        letter = epitaph(message)
        at = _time(letter.get("at"))
        return (
            (not self.ids or message.id in self.ids)
            and (self.task is None or fnmatch.fnmatchcase(str(message.headers.get("task") or ""), self.task))
            and (self.reason is None or str(letter.get("reason") or "").lower() == self.reason.lower())
            and (self.before is None or (at is not None and at < self.before))
            and (self.after is None or (at is not None and at >= self.after))
        )


def epitaph(message: Message) -> Mapping[str, Any]:
    """Return what was written down when a message died; empty for a message that lies there without it."""
    letter = message.headers.get(DEAD_HEADER)
    return letter if isinstance(letter, dict) else {}


def home_of(message: Message, dead_queue: str) -> str:
    """Return the queue that a letter came from."""
    return str(epitaph(message).get("queue") or dead_queue.removesuffix(".dead"))


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
