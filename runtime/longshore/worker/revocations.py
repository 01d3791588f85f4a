"""What was revoked, known to every process of a worker through memory that they share.

The supervisor's side (`Revocations`) appends; a child's side (`Revoked`) reads what is new when a counter has moved,
one comparison a batch. Nothing is taken out but by newer entries: the last 50,000 count, as in Celery. A store, where
there is one, keeps them for a week, so that they survive restarts and reach workers that did not hear of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from longshore.exceptions import BackendError
from longshore.stores.port import REVOKED_KIND, REVOKED_SECONDS, REVOKED_STAMPS_KIND

if TYPE_CHECKING:
    from longshore.stores.port import Store

logger = logging.getLogger("longshore.worker")

MOST = 50_000
_COUNT = struct.Struct("<Q")
_ENTRY_BYTES = 64
_LONGEST = _ENTRY_BYTES - 2
_ID, _STAMP, _STOP = b"i", b"s", b"t"


def _key(text: str) -> bytes:
    """A text as an entry holds it: itself, or its digest where it is long."""
    raw = text.encode("utf-8", "surrogatepass")
    return raw if len(raw) <= _LONGEST else hashlib.blake2b(raw, digest_size=_LONGEST).digest()


def _stamp(header: str, value: Any) -> str:
    return json.dumps([header, value], sort_keys=True, default=str)


class Ledger:
    """The shared memory: a counter and the last `MOST` entries, each a kind and a key."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _COUNT.size + MOST * _ENTRY_BYTES)

    @property
    def count(self) -> int:
        """How many entries there ever were."""
        count: int = _COUNT.unpack_from(self._memory)[0]
        return count

    def append(self, kind: bytes, key: bytes) -> None:
        """Add an entry; by one thread at a time. The counter moves last, so that a reader sees whole entries."""
        count = self.count
        at = _COUNT.size + count % MOST * _ENTRY_BYTES
        self._memory[at : at + 2 + len(key)] = kind + bytes([len(key)]) + key
        _COUNT.pack_into(self._memory, 0, count + 1)

    def entry(self, number: int) -> tuple[bytes, bytes]:
        """Return the kind and key of an entry."""
        at = _COUNT.size + number % MOST * _ENTRY_BYTES
        length = self._memory[at + 1]
        return self._memory[at : at + 1], self._memory[at + 2 : at + 2 + length]


class Revoked:
    """What a child knows: `is_revoked` for each message, `refresh` for each batch."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen = 0
        self._keys: dict[bytes, None] = {}
        self._has_stamps = False
        self.any = False
        """Whether anything was revoked at all; mostly not."""

    def refresh(self) -> list[bytes]:
        """Read what is new; return the keys of the runs that are to stop."""
        count = self._ledger.count
        if count == self._seen:
            return []
        stops = []
        for number in range(max(self._seen, count - MOST), count):
            kind, key = self._ledger.entry(number)
            if kind == _STOP:
                stops.append(key)
            else:
                self._note(kind, key)
        self._seen = count
        return stops

    def _note(self, kind: bytes, key: bytes) -> None:
        self.any = True
        self._has_stamps = self._has_stamps or kind == _STAMP
        self._keys[kind + key] = None
        if len(self._keys) > MOST:
            del self._keys[next(iter(self._keys))]

    def is_revoked(self, task_id: str, headers: Mapping[str, Any]) -> bool:
        """Whether a task was revoked, by its id or by one of its stamps."""
        if _ID + _key(task_id) in self._keys:
            return True
        return self._has_stamps and any(_STAMP + _key(stamp) in self._keys for stamp in _stamps_of(headers))


def _stamps_of(headers: Mapping[str, Any]) -> Iterable[str]:
    names, stamps = headers.get("stamped_headers"), headers.get("stamps")
    if not isinstance(names, list | tuple) or not isinstance(stamps, Mapping):
        return
    for name in names:
        value = stamps.get(name)
        for each in value if isinstance(value, list | tuple) else (value,):
            yield _stamp(str(name), each)


def is_stop_of(key: bytes, task_id: str) -> bool:
    """Whether a stop that `Revoked.refresh` returned means this run."""
    return key == _key(task_id)


class Revocations:
    """What the supervisor knows, and whoever controls the worker tells. Threads may share it."""

    def __init__(self, store: Store | None = None, ring: Callable[[], None] = lambda: None) -> None:
        """`ring` wakes the supervisor's main thread."""
        self.ledger = Ledger()
        self._store = store
        self._lock = threading.Lock()
        self._ids: dict[str, None] = {}
        self._stamps: dict[str, None] = {}
        self._unsaved: dict[str, dict[str, None]] = {REVOKED_KIND: {}, REVOKED_STAMPS_KIND: {}}
        self._cursors = {REVOKED_KIND: 0, REVOKED_STAMPS_KIND: 0}
        self._stops: deque[tuple[str, str]] = deque()
        self._ring = ring
        self.changed: Callable[[], None] = lambda: None
        """Told when there is something that the store does not have yet."""

    # -- telling -----------------------------------------------------------------------------------------------------

    def add(self, ids: str | Iterable[str]) -> None:
        """Revoke tasks: they will not run, here and, through the store, anywhere."""
        ids = [ids] if isinstance(ids, str) else list(ids)
        self._note(REVOKED_KIND, ids)
        with self._lock:
            self._unsaved[REVOKED_KIND].update(dict.fromkeys(ids))
        self.changed()

    def add_stamps(self, headers: Mapping[str, Any]) -> None:
        """Revoke the tasks that carry one of these stamps: name → value, or several values."""
        stamps = [
            _stamp(name, each)
            for name, value in headers.items()
            for each in (value if isinstance(value, list | tuple | set) else (value,))
        ]
        self._note(REVOKED_STAMPS_KIND, stamps)
        with self._lock:
            self._unsaved[REVOKED_STAMPS_KIND].update(dict.fromkeys(stamps))
        self.changed()

    def terminate(self, ids: str | Iterable[str], signal: str | int = "SIGTERM") -> None:
        """Revoke tasks, and end those that run here: with their process, or by cancelling a coroutine.

        Whatever the `signal`, the process is killed; the name is told to whoever listens to `task_revoked`.
        """
        ids = [ids] if isinstance(ids, str) else list(ids)
        self.add(ids)
        self._stops.extend((task_id, str(signal)) for task_id in ids)
        self._ring()

    def take_stops(self) -> Iterator[tuple[str, str]]:
        """Return the ids that are to be ended, with the signal's name; each once."""
        while self._stops:
            yield self._stops.popleft()

    def stop(self, task_id: str) -> None:
        """Tell the children that a run is to stop, for those who can interrupt one of several."""
        with self._lock:
            self.ledger.append(_STOP, _key(task_id))

    def ids(self) -> list[str]:
        """Return the revoked ids that this worker knows, the oldest first (`inspect revoked`)."""
        return list(self._ids)

    def stamps(self) -> dict[str, list[Any]]:
        """Return the revoked stamps: name → values."""
        found: dict[str, list[Any]] = {}
        for name, value in map(json.loads, list(self._stamps)):
            found.setdefault(name, []).append(value)
        return found

    def is_revoked(self, task_id: str) -> bool:
        """Whether this worker knows that a task was revoked by its id."""
        return task_id in self._ids

    def _note(self, kind: str, texts: Sequence[str]) -> None:
        known, mark = (self._ids, _ID) if kind == REVOKED_KIND else (self._stamps, _STAMP)
        with self._lock:
            for text in texts:
                if text not in known:
                    known[text] = None
                    self.ledger.append(mark, _key(text))
            while len(known) > MOST:
                del known[next(iter(known))]

    # -- the store ---------------------------------------------------------------------------------------------------

    def exchange(self) -> None:
        """Save what is not saved yet, read what others have revoked; called by the keeper. Raises `BackendError`."""
        if self._store is None:
            return
        for kind, unsaved in self._unsaved.items():
            texts = list(unsaved)
            if texts:
                self._store.mark(kind, texts, expires=REVOKED_SECONDS)
                with self._lock:
                    for text in texts:
                        del unsaved[text]
            found = self._store.marked(kind, self._cursors[kind])
            self._cursors[kind] = found.cursor
            self._note(kind, found.ids)

    def load(self) -> None:
        """Read what was revoked before this worker started; without it a revoked task could run now."""
        try:
            self.exchange()
        except BackendError as error:
            logger.warning("revoked tasks cannot be read: %s; they are not known until they can", error)
