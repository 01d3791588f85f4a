"""What a run says of itself on the board, for whoever looks at a worker: written for every run, read for few."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

_SEPARATOR = "\0"


class About(NamedTuple):
    """What a run says of itself, for whoever looks at a worker."""

    name: str
    queue: str
    priority: int | None
    redelivered: bool
    acknowledged: bool
    args: str
    kwargs: str
    stamps: Mapping[str, Any] = {}

    @classmethod
    def read(cls, text: str) -> About:
        """Read what `about` wrote; a text that was cut has less."""
        name, queue, priority, flags, stamps, args, kwargs = (text.split(_SEPARATOR) + [""] * 7)[:7]
        number = int(priority) if priority.isdecimal() else None
        return cls(name, queue, number, "r" in flags, "a" in flags, args, kwargs, _read_stamps(stamps))


def about(name: str, queue: str, headers: Mapping[str, Any], priority: object, flags: str) -> str:
    """Return what a run says of itself, quickly. `flags`: r redelivered, a acknowledged."""
    get = headers.get
    stamps = json.dumps(get("stamps"), default=str) if get("stamped_headers") else ""
    return f"{name}\0{queue}\0{priority}\0{flags}\0{stamps}\0{get('argsrepr')}\0{get('kwargsrepr')}"


def _read_stamps(text: str) -> Mapping[str, Any]:
    try:
        stamps = json.loads(text) if text else {}
    except ValueError:  # it was too long for its place
        return {}
    return stamps if isinstance(stamps, dict) else {}
