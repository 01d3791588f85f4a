"""What the operator knows of the cluster: the newest version seen of each object that it watches.

Fed by the watch, by periodic lists and by the answers to our own writes, in any order: an older version never replaces
a newer one, and what is gone does not come back. Used within one event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from longshore_operator.core.pods import PodView, pod_view
from longshore_operator.engine.ports import Key, Kind, Manifest

POOL_LABEL = "longshore.dev/worker-pool"
OURS: tuple[Kind, ...] = ("TaskQueue", "WorkerPool", "CronSchedule")
_NOISE = "kubectl.kubernetes.io/last-applied-configuration"

Id = tuple[str, str]

KEEP_GONE = 100_000
"""For so many versions an object that is gone is remembered: longer than any answer is under way."""


class Cache:
    """Objects by kind, namespace and name. `listener` hears of every key whose resource may need another look."""

    def __init__(self, listener: Callable[[Iterable[Key]], None] | None = None) -> None:
        self.listener = listener
        self._objects: dict[str, dict[Id, Manifest]] = {kind: {} for kind in (*OURS, "Deployment", "Pod")}
        self._pods: dict[Id, dict[str, PodView]] = {}
        self._gone: dict[tuple[str, Id], int] = {}

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object as it was seen last."""
        return self._objects[kind].get((namespace, name))

    def list(self, kind: str, namespace: str | None = None) -> list[Manifest]:
        """Return every object of a kind."""
        return [item for (where, _), item in self._objects[kind].items() if namespace in (None, where)]

    def pods(self, namespace: str, pool: str) -> tuple[PodView, ...]:
        """Return the pods that carry a pool's label."""
        return tuple(self._pods.get((namespace, pool), {}).values())

    def put(self, kind: str, item: Manifest) -> bool:
        """Take in an object; return whether it was news."""
        ident, known = _id(item), self._objects[kind].get(_id(item))
        version = _number(item["metadata"].get("resourceVersion"))
        oldest = self._gone.get((kind, ident), 0) if known is None else _number(known["metadata"]["resourceVersion"])
        if version <= oldest:
            return False
        self._objects[kind][ident] = _slim(kind, item)
        if kind == "Pod":
            self._put_pod(item)
        self._tell(kind, item)
        return True

    def drop(self, kind: str, item: Manifest) -> None:
        """Forget an object that is gone, unless a newer one of its name is there."""
        ident, known = _id(item), self._objects[kind].get(_id(item))
        if known is None or known["metadata"].get("uid") != item["metadata"].get("uid"):
            return
        del self._objects[kind][ident]
        self._gone[kind, ident] = _number(item["metadata"].get("resourceVersion"))
        if kind == "Pod":
            self._drop_pod(item)
        self._tell(kind, item)

    def replace(self, kind: str, items: Iterable[Manifest], version: str) -> None:
        """Take in a whole list; what is older than the list and not in it is gone."""
        listed = {_id(item): item for item in items}
        for item in listed.values():
            self.put(kind, item)
        for ident, known in list(self._objects[kind].items()):
            if ident not in listed and _number(known["metadata"].get("resourceVersion")) <= _number(version):
                self.drop(kind, known)
        old = [key for key, gone in self._gone.items() if key[0] == kind and gone < _number(version) - KEEP_GONE]
        for key in old:
            del self._gone[key]

    def _put_pod(self, pod: Manifest) -> None:
        view = pod_view(pod)
        self._pods.setdefault((view.namespace, _pool_of(pod)), {})[view.uid] = view

    def _drop_pod(self, pod: Manifest) -> None:
        ident = pod["metadata"]["namespace"], _pool_of(pod)
        self._pods.get(ident, {}).pop(pod["metadata"]["uid"], None)
        if not self._pods.get(ident):
            self._pods.pop(ident, None)

    def _tell(self, kind: str, item: Manifest) -> None:
        if self.listener is None:
            return
        meta = item["metadata"]
        name = meta["name"] if kind in OURS else _pool_of(item)
        self.listener([Key(kind if kind in OURS else "WorkerPool", meta["namespace"], name)])


def _id(item: Mapping[str, Any]) -> Id:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _pool_of(item: Mapping[str, Any]) -> str:
    labels: Mapping[str, str] = item["metadata"].get("labels") or {}
    return labels.get(POOL_LABEL, "")


def _number(version: str | None) -> int:
    """Resource versions of one kind are comparable numbers."""
    return int(version) if version and version.isdigit() else 0


def _slim(kind: str, item: Manifest) -> Manifest:
    """Keep what is used: of a pod its view is kept apart; managed fields matter for Deployments only."""
    meta = item["metadata"]
    if kind == "Pod":
        kept = ("name", "namespace", "uid", "resourceVersion", "labels")
        return {"metadata": {key: meta[key] for key in kept if key in meta}}
    annotations = {key: value for key, value in (meta.get("annotations") or {}).items() if key != _NOISE}
    slim = {key: value for key, value in meta.items() if key != "annotations"}
    if kind != "Deployment":
        slim.pop("managedFields", None)
    return {**item, "metadata": {**slim, "annotations": annotations} if annotations else slim}
