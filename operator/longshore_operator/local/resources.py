"""The declared resources of a local run: read once from manifests, their status kept here, schedules' also on disk.

Stands for the API server and its etcd. UIDs follow from names, so that a second run on the same folder knows a tick
that the first one sent.
"""

from __future__ import annotations

import copy
import itertools
import json
import logging
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from longshore_operator.engine.ports import Conflict, Key, Kind, Listener, Manifest, key_of
from longshore_operator.local.snapshot import EventRow

log = logging.getLogger(__name__)

EVENTS_KEPT = 200
REMEMBERED: tuple[Kind, ...] = ("CronSchedule",)
"""Kinds whose status the next run needs: when a schedule ticked last."""

_UIDS = uuid.UUID("6d0a3a52-6f5c-4d0e-8c0b-5e2f6f3f9a11")


class LocalResources:
    """The `Resources` port."""

    def __init__(self, manifests: Iterable[Manifest], memory: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._versions = itertools.count(1)
        self._memory = memory
        self._remembered = _read_memory(memory)
        self._objects = {key_of(manifest): self._admit(manifest) for manifest in manifests}
        self.events: deque[EventRow] = deque(maxlen=EVENTS_KEPT)
        self.listener: Listener | None = None

    # -- the port ----------------------------------------------------------------------------------------------------

    def get(self, key: Key) -> Manifest | None:
        """Return a resource as it is now."""
        found = self._objects.get(key)
        return copy.deepcopy(found) if found is not None else None

    def list(self, kind: Kind, namespace: str | None = None) -> Sequence[Manifest]:
        """Return the resources of a kind."""
        keys = [key for key in self._objects if key.kind == kind and namespace in (None, key.namespace)]
        return [copy.deepcopy(self._objects[key]) for key in keys]

    async def write_status(self, manifest: Manifest, status: Manifest) -> None:
        """Replace a status; remember it on disk where the next run needs it."""
        key = key_of(manifest)
        self._write(manifest, {**self._current(manifest), "status": copy.deepcopy(status)})
        if key.kind in REMEMBERED:
            self._remembered[str(key)] = status
            _write_memory(self._memory, self._remembered)

    async def write_finalizers(self, manifest: Manifest, finalizers: Sequence[str]) -> None:
        """Replace the finalizers."""
        current = self._current(manifest)
        self._write(manifest, {**current, "metadata": {**current["metadata"], "finalizers": list(finalizers)}})

    async def record(self, manifest: Manifest, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Keep an event for the table; the same one again in a row is shown once."""
        subject = f"{manifest['kind']}/{manifest['metadata']['name']}"
        self.note(kind, subject, reason, message)

    def note(self, kind: Literal["Normal", "Warning"], subject: str, reason: str, message: str) -> None:
        """Keep an event, unless it is the latest one again."""
        if self.events and (self.events[-1].subject, self.events[-1].message) == (subject, message):
            return
        self.events.append(EventRow(self._clock(), kind, subject, reason, message))

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _admit(self, manifest: Manifest) -> Manifest:
        key = key_of(manifest)
        meta = {
            **manifest["metadata"],
            "namespace": key.namespace,
            "uid": str(uuid.uuid5(_UIDS, str(key))),
            "generation": 1,
            "resourceVersion": str(next(self._versions)),
        }
        return {**manifest, "metadata": meta, "status": self._remembered.get(str(key), {})}

    def _current(self, manifest: Manifest) -> Manifest:
        current = self._objects.get(key_of(manifest))
        read = manifest["metadata"].get("resourceVersion")
        if current is None or current["metadata"]["resourceVersion"] != read:
            raise Conflict(f"{key_of(manifest)} has changed")
        return current

    def _write(self, read: Manifest, changed: Manifest) -> None:
        meta = {**changed["metadata"], "resourceVersion": str(next(self._versions))}
        self._objects[key_of(read)] = {**changed, "metadata": meta}
        if self.listener is not None:
            self.listener([key_of(read)])


class ErrorsAsEvents(logging.Handler):
    """Shows what the engine could not do among the events; the log has the details."""

    def __init__(self, resources: LocalResources) -> None:
        super().__init__(logging.ERROR)
        self._resources = resources

    def emit(self, record: logging.LogRecord) -> None:
        """Note the first line."""
        error = record.exc_info[1] if record.exc_info else None
        said = record.getMessage() if error is None else f"{type(error).__name__}: {error}"
        self._resources.note("Warning", record.name, "Error", f"{said.partition(chr(10))[0]} (details in dev.log)")


def _read_memory(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s is not readable (%s): schedules start as if they had never ticked", path, error)
        return {}
    return found if isinstance(found, dict) else {}


def _write_memory(path: Path, remembered: dict[str, Any]) -> None:
    """Replace the file in one step: a death in between leaves the old one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(remembered, indent=1, default=str))
    fresh.replace(path)
