"""Deployments as local processes: the engine applies a Deployment, this keeps as many workers as it says.

Stands for the API server, the Deployment and ReplicaSet controllers and the scheduler. Which pods end first follows the
ReplicaSet's rule, so that the engine's prediction of it holds here as there.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from longshore_operator.core.pods import WORKER_CONTAINER, PodView
from longshore_operator.core.victims import deletion_rank
from longshore_operator.engine.ports import Conflict, Key, Listener, Manifest, Workload
from longshore_operator.local.pods import LocalPod, Start
from longshore_operator.local.process import LastWords

Clock = Callable[[], float]


@dataclass
class _Deployment:
    manifest: Manifest
    revision: str
    pods: list[LocalPod] = field(default_factory=list)

    @property
    def name(self) -> tuple[str, str]:
        meta = self.manifest["metadata"]
        return meta["namespace"], meta["name"]

    @property
    def replicas(self) -> int:
        return int(self.manifest["spec"].get("replicas", 1))

    def active(self) -> list[LocalPod]:
        return [pod for pod in self.pods if not pod.terminating]


class LocalWorkloads:
    """The `Workloads` port. `step`, called many times a second, is the only place where processes start."""

    def __init__(self, start: Callable[[Manifest], Start], clock: Clock, listener: Listener | None = None) -> None:
        self._start = start
        self._clock = clock
        self._deployments: dict[tuple[str, str], _Deployment] = {}
        self._versions = itertools.count(1)
        self.listener = listener
        self.closing = False
        self.uids: set[str] = set()
        """Every pod of this run, those that are gone included."""
        self._last_words: list[tuple[str, LastWords]] = []

    # -- the port ----------------------------------------------------------------------------------------------------

    async def observe(self, namespace: str, name: str) -> Workload:
        """Return the pool's Deployment, with the status that its controller would write, and its pods."""
        deployment = self._deployments.get((namespace, name))
        if deployment is None:
            return Workload(None)
        return Workload(_with_status(deployment), tuple(pod.view() for pod in deployment.pods if not pod.gone))

    async def apply(self, deployment: Manifest) -> Manifest:
        """Take the Deployment as the new truth; its processes follow at the next step."""
        meta = deployment["metadata"]
        name = meta["namespace"], meta["name"]
        known = self._deployments.get(name)
        expected = meta.get("resourceVersion")
        if known is not None and expected not in (None, known.manifest["metadata"]["resourceVersion"]):
            raise Conflict(f"Deployment {name[1]} has changed")
        manifest = {**deployment, "metadata": self._metadata(deployment, known)}
        revision = _revision(deployment["spec"]["template"])
        self._deployments[name] = _Deployment(manifest, revision, known.pods if known else [])
        return manifest

    async def mark(self, pod: PodView, deletion_cost: int | None) -> None:
        """Note which pod should end first."""
        for known in self.pods():
            if known.uid == pod.uid:
                known.deletion_cost = deletion_cost or 0

    # -- the controllers ---------------------------------------------------------------------------------------------

    def pods(self) -> Iterator[LocalPod]:
        """Return every pod that is not gone."""
        for deployment in self._deployments.values():
            yield from (pod for pod in deployment.pods if not pod.gone)

    def step(self) -> None:
        """Bring the processes one step nearer to what the Deployments say, and tell the engine where that changed."""
        now = self._clock()
        for deployment in self._deployments.values():
            changed = self._scale(deployment, now)
            stepped = [pod.step(now) for pod in deployment.pods]
            self._keep_last_words(deployment.pods)
            deployment.pods = [pod for pod in deployment.pods if not pod.gone]
            if (changed or any(stepped)) and self.listener is not None:
                self.listener([Key("WorkerPool", *deployment.name)])

    def take_last_words(self) -> list[tuple[str, LastWords]]:
        """Return, once, the figures of the workers that have ended since the last time, each with its pool's key."""
        taken, self._last_words = self._last_words, []
        return taken

    def _keep_last_words(self, pods: Iterable[LocalPod]) -> None:
        for pod in pods:
            self._last_words += [(pod.key, words) for words in pod.last_words]
            pod.last_words = []

    def see_ready(self, uids: Iterable[str]) -> None:
        """Note which pods' workers have reported."""
        ready, now = frozenset(uids), self._clock()
        for deployment in self._deployments.values():
            for pod in deployment.pods:
                if pod.uid in ready and pod.ready_since is None:
                    pod.see_ready(now)
                    if self.listener is not None:
                        self.listener([Key("WorkerPool", *deployment.name)])

    def drain(self) -> None:
        """Ask every worker to finish what runs and end; start no new one."""
        self.closing = True
        for pod in self.pods():
            pod.drain(self._clock())

    def kill(self) -> None:
        """End every worker at once."""
        self.drain()
        for pod in self.pods():
            pod.kill()

    def _scale(self, deployment: _Deployment, now: float) -> bool:
        if self.closing:
            return False
        old = [pod for pod in deployment.active() if pod.revision != deployment.revision]
        active = [pod for pod in deployment.active() if pod.revision == deployment.revision]
        surplus = sorted(active, key=eviction_order)[: max(0, len(active) - deployment.replicas)]
        for pod in (*old, *surplus):
            pod.drain(now)
        missing = max(0, deployment.replicas - len(active))
        for _ in range(missing):
            pod = self._new_pod(deployment, now)
            self.uids.add(pod.uid)
            deployment.pods.append(pod)
        return bool(old or surplus or missing)

    def _new_pod(self, deployment: _Deployment, now: float) -> LocalPod:
        namespace, name = deployment.name
        taken = {pod.name for pod in deployment.pods}
        template = deployment.manifest["spec"]["template"]
        return LocalPod(
            namespace=namespace,
            pool=name,
            name=next(f"{name}-{n}" for n in itertools.count() if f"{name}-{n}" not in taken),
            revision=deployment.revision,
            start=self._start(template),
            created_at=now,
            drain_seconds=float(template["spec"].get("terminationGracePeriodSeconds", 60)) - 30.0,
        )

    def _metadata(self, deployment: Manifest, known: _Deployment | None) -> dict[str, Any]:
        meta = deployment["metadata"]
        before = known.manifest if known is not None else None
        generation = before["metadata"]["generation"] if before is not None else 0
        if before is None or before["spec"] != deployment["spec"]:
            generation += 1
        uid = f"local-{meta['namespace']}-{meta['name']}"
        return {**meta, "uid": uid, "generation": generation, "resourceVersion": str(next(self._versions))}


def eviction_order(pod: LocalPod) -> tuple[tuple[bool, int, bool, int], float]:
    """Order as a ReplicaSet does when it shrinks: the rank that the engine predicts, then the newer ones."""
    return deletion_rank(pod.view()), -pod.created_at


def worker_container(template: Manifest) -> Manifest:
    """Return the container `worker` of a pod template."""
    containers: list[Manifest] = template["spec"]["containers"]
    return next(item for item in containers if item["name"] == WORKER_CONTAINER)


def _revision(template: Manifest) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def _with_status(deployment: _Deployment) -> Manifest:
    active = deployment.active()
    ready = sum(pod.view().ready for pod in active)
    status = {
        "observedGeneration": deployment.manifest["metadata"]["generation"],
        "replicas": len(active),
        "updatedReplicas": sum(pod.revision == deployment.revision for pod in active),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, deployment.replicas - ready),
        "conditions": [],
    }
    return {**deployment.manifest, "status": status}
