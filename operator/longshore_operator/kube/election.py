"""Who of the replicas leads, by a Lease: at most one writes at any time.

The clock is CLOCK_BOOTTIME, which goes on while a machine sleeps; no two machines' clocks are compared. A leader that
could not renew for the renew deadline may not write any more and ends, well before another may take the Lease. All
decisions are in `judge`, which is pure; the rest carries them out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from longshore_operator.engine.ports import Conflict, Manifest, Refused, Unreachable
from longshore_operator.kube.client import ApiClient, NotFound

logger = logging.getLogger(__name__)

LEASE_SECONDS = 10.0
RENEW_DEADLINE_SECONDS = 6.0
RETRY_SECONDS = 2.0
REQUEST_SECONDS = 2.0

Move = Literal["Create", "Take", "Renew", "Wait"]


def boottime() -> float:
    """Seconds since the machine started, its sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Sighting:
    """The Lease's record as we saw it last, and when, by our own clock, it became so."""

    holder: str
    renewed: str
    since: float


def sight(lease: Manifest, before: Sighting | None, now: float) -> Sighting:
    """Return what is seen; the same record again keeps its time."""
    spec = lease.get("spec") or {}
    holder, renewed = spec.get("holderIdentity") or "", str(spec.get("renewTime"))
    if before is not None and (before.holder, before.renewed) == (holder, renewed):
        return before
    return Sighting(holder, renewed, now)


def judge(seen: Sighting | None, identity: str, duration: float, now: float) -> Move:
    """Decide what to do about the Lease; another's is taken only after it stood still for its whole duration."""
    if seen is None:
        return "Create"
    if seen.holder == identity:
        return "Renew"
    if not seen.holder or now - seen.since > duration:
        return "Take"
    return "Wait"


class Elector:
    """One replica's part in the election."""

    def __init__(
        self, client: ApiClient, namespace: str, name: str, identity: str, clock: Callable[[], float] = boottime
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._lease: Manifest | None = None
        self._seen: Sighting | None = None
        self._renewed_at: float | None = None
        self.writes = 0
        self.released = False
        """Whether we gave the Lease back on purpose."""
        self.leader: str | None = None
        """Who leads as far as we have seen."""

    def may_write(self) -> bool:
        """Whether we surely lead at this moment."""
        return self._renewed_at is not None and self._clock() - self._renewed_at < RENEW_DEADLINE_SECONDS

    async def acquire(self) -> None:
        """Return once we lead."""
        leads = await self._step()
        while not leads:
            await asyncio.sleep(RETRY_SECONDS)
            leads = await self._step()

    async def hold(self) -> None:
        """Keep the Lease; return when it is lost."""
        while self.may_write():
            await asyncio.sleep(RETRY_SECONDS)
            await self._step()

    async def release(self) -> None:
        """Give the Lease back, so that another can lead at once; no write of ours may follow."""
        self.released = True
        lease, self._renewed_at = self._lease, None
        if lease is None or self._seen is None or self._seen.holder != self._identity:
            return
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._put({**lease, "spec": spec})
        except (Conflict, NotFound, Refused, Unreachable, TimeoutError) as error:
            logger.warning("the Lease was not given back: %s", error)

    async def _step(self) -> bool:
        """Look at the Lease, and create, take or renew it; return whether we lead."""
        asked_at = self._clock()
        try:
            if self._seen is None or self._seen.holder != self._identity:
                await self._look()
            move = judge(self._seen, self._identity, self._duration(), self._clock())
            if move != "Wait":
                await self._write(move)
                self._renewed_at = asked_at
        except (Conflict, NotFound, Refused, Unreachable, TimeoutError) as error:
            logger.warning("election: %s", error)
            self._seen = None if isinstance(error, Conflict | NotFound) else self._seen
        return self.may_write()

    def _duration(self) -> float:
        spec = (self._lease or {}).get("spec") or {}
        return float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)

    async def _look(self) -> None:
        before = self._seen
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                lease = await self._client.get(self._path(self._name))
        except NotFound:
            self._lease, self._seen = None, None
            return
        self._lease, self._seen = lease, sight(lease, before, self._clock())
        self.leader = self._seen.holder or None

    async def _write(self, move: Move) -> None:
        spec = self._spec(move)
        self.writes += 1
        if move == "Create":
            meta = {"name": self._name, "namespace": self._namespace}
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
            async with asyncio.timeout(REQUEST_SECONDS):
                self._lease = await self._client.request("POST", self._path(), body, guarded=False)
        else:
            assert self._lease is not None
            self._lease = await self._put({**self._lease, "spec": spec})
        self._seen = sight(self._lease, self._seen, self._clock())
        self.leader = self._identity

    async def _put(self, lease: Manifest) -> Manifest:
        async with asyncio.timeout(REQUEST_SECONDS):
            return await self._client.request("PUT", self._path(self._name), lease, guarded=False)

    def _spec(self, move: Move) -> dict[str, Any]:
        old = (self._lease or {}).get("spec") or {}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {
            **old,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(LEASE_SECONDS),
            "renewTime": now,
        }
        if move != "Renew":
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(old.get("leaseTransitions") or 0) + (move == "Take")
        return spec

    def _path(self, name: str | None = None) -> str:
        root = f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases"
        return f"{root}/{name}" if name else root
