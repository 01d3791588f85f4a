"""Events for `kubectl describe`: written in the background, counted up when they repeat, dropped if too many wait.

An Event is for people; nothing depends on it. Writing one never delays or fails a reconcile.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from longshore_operator.engine.ports import Conflict, Manifest, Refused, Unreachable
from longshore_operator.kube.client import ApiClient, NotFound, NotLeading

logger = logging.getLogger(__name__)

COMPONENT = "longshore-operator"
QUEUED = 200
REPEATS_WITHIN_SECONDS = 600.0
REMEMBERED = 500
MESSAGE_LIMIT = 1000


@dataclass(slots=True)
class _Written:
    name: str
    count: int
    at: float


class Recorder:
    """Takes Events and writes them one after the other while `run` runs."""

    def __init__(self, client: ApiClient, instance: str, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._instance = instance
        self._clock = clock
        self._queue: asyncio.Queue[tuple[Manifest, str, str, str]] = asyncio.Queue(QUEUED)
        self._written: dict[tuple[str, str, str], _Written] = {}

    def record(self, manifest: Manifest, kind: str, reason: str, message: str) -> None:
        """Have an Event written soon; drop it when too many wait."""
        try:
            self._queue.put_nowait((manifest, kind, reason, message[:MESSAGE_LIMIT]))
        except asyncio.QueueFull:
            logger.warning("dropped an Event of %s: %s", manifest["metadata"]["name"], reason)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            manifest, kind, reason, message = await self._queue.get()
            try:
                await self._write(manifest, kind, reason, message)
            except (Conflict, NotFound, NotLeading, Refused, Unreachable) as error:
                logger.debug("an Event of %s was not written: %s", manifest["metadata"]["name"], error)

    async def _write(self, manifest: Manifest, kind: str, reason: str, message: str) -> None:
        ident, now = (manifest["metadata"]["uid"], reason, message), self._clock()
        path = f"/api/v1/namespaces/{manifest['metadata']['namespace']}/events"
        before = self._written.get(ident)
        if before is not None and now - before.at < REPEATS_WITHIN_SECONDS:
            before.count, before.at = before.count + 1, now
            await self._client.merge(f"{path}/{before.name}", {"count": before.count, "lastTimestamp": _time(now)})
            return
        event = self._event(manifest, kind, reason, message, now)
        await self._client.post(path, event)
        self._remember(ident, _Written(event["metadata"]["name"], 1, now))

    def _remember(self, ident: tuple[str, str, str], written: _Written) -> None:
        while len(self._written) >= REMEMBERED:
            del self._written[next(iter(self._written))]
        self._written[ident] = written

    def _event(self, manifest: Manifest, kind: str, reason: str, message: str, now: float) -> Manifest:
        meta = manifest["metadata"]
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name'][:200]}.{uuid.uuid4().hex[:16]}", "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": manifest["apiVersion"],
                "kind": manifest["kind"],
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
                "resourceVersion": meta["resourceVersion"],
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": _time(now),
            "lastTimestamp": _time(now),
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
        }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
