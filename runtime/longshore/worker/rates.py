"""Rate limits that changed while the worker runs: the supervisor is told, its processes read it from shared memory.

One writer; a reader looks at a version that is odd while a change is being written, and reads anew when it moved on.
"""

from __future__ import annotations

import json
import mmap
import struct
import threading
from collections.abc import Callable

from longshore.core.ratelimit import Rate, parse_rate
from longshore.exceptions import ImproperlyConfigured

_HEAD = struct.Struct("<QI")
_SIZE = 1 << 18


class RateChanges:
    """Made before the fork; what it says goes before what the tasks say."""

    def __init__(self, require_store: Callable[[str], None] | None = None) -> None:
        self._require_store = require_store
        self._memory = mmap.mmap(-1, _SIZE)
        self._words = memoryview(self._memory).cast("Q")  # the version is the first: reading it takes 30 ns
        self._lock = threading.Lock()
        self._version = 0
        self._rates: dict[str, Rate | None] = {}

    def change(self, task: str, rate_limit: str | float | None) -> None:
        """Set the limit of a task from now on; `None`, ``""`` and 0 lift it. Called in the supervisor.

        Raises `NoStore` where there is nothing to keep it over all workers.
        """
        rate = parse_rate(rate_limit)
        if rate is not None and self._require_store is not None:
            self._require_store(f"task {task} is to have a rate limit of {rate}")
        with self._lock:
            self.refresh()
            wanted = {**self._rates, task: rate}
            text = json.dumps({name: rate and str(rate) for name, rate in wanted.items()}).encode()
            if len(text) > _SIZE - _HEAD.size:
                raise ImproperlyConfigured(
                    "too many rate limits were changed; restart the worker with them in its code"
                )
            version = self._version + 2
            _HEAD.pack_into(self._memory, 0, version - 1, len(text))
            self._memory[_HEAD.size : _HEAD.size + len(text)] = text
            _HEAD.pack_into(self._memory, 0, version, len(text))
            self._rates, self._version = wanted, version

    def refresh(self) -> None:
        """Take over what changed since the last time; cheap when nothing did."""
        version, length = _HEAD.unpack_from(self._memory)
        if version == self._version or version % 2:
            return
        text = bytes(self._memory[_HEAD.size : _HEAD.size + length])
        if _HEAD.unpack_from(self._memory) != (version, length):
            return  # a change is on its way: the next message sees it
        self._rates = {name: parse_rate(rate) for name, rate in json.loads(text).items()}
        self._version = version

    def rate(self, task: str, own: Rate | None) -> Rate | None:
        """Return the limit of a task now, `own` being what the task says itself."""
        if self._words[0] != self._version:
            self.refresh()
        return self._rates.get(task, own) if self._rates else own
