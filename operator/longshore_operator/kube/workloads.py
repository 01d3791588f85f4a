"""The `Workloads` port on a cluster: server-side apply of Deployments, pods from the cache, deletion cost on pods."""

from __future__ import annotations

from longshore_operator.core.pods import DELETION_COST_ANNOTATION, PodView
from longshore_operator.engine.ports import Manifest, Refused, Unreachable, Workload
from longshore_operator.kube.cache import Cache
from longshore_operator.kube.client import ApiClient, Forbidden, NotFound
from longshore_operator.kube.lists import path_of
from longshore_operator.kube.resources import FIELD_MANAGER

_MISTYPED = "failed to create typed patch object"


class KubeWorkloads:
    """Deployments and pods of a cluster."""

    def __init__(self, client: ApiClient, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    async def observe(self, namespace: str, name: str) -> Workload:
        """Return what the cache has; a Deployment without our label, which is not watched, is asked for."""
        deployment = self._cache.get("Deployment", namespace, name)
        if deployment is None:
            deployment = await self._find(namespace, name)
        return Workload(deployment, self._cache.pods(namespace, name))

    async def _find(self, namespace: str, name: str) -> Manifest | None:
        try:
            return await self._client.get(path_of("Deployment", namespace, name))
        except NotFound:
            return None

    async def apply(self, deployment: Manifest) -> Manifest:
        """Apply by force: a field of ours that somebody took is ours again; what we do not set stays theirs."""
        meta = deployment["metadata"]
        path = path_of("Deployment", meta["namespace"], meta["name"])
        options = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        try:
            stored = await self._client.apply(path, deployment, **options)
        except NotFound as error:
            raise Refused(str(error)) from None
        except Unreachable as error:
            raise _refusal(error) or error from None
        self._cache.put("Deployment", stored)
        return stored

    async def mark(self, pod: PodView, deletion_cost: int | None) -> None:
        """Set or remove the deletion cost, and nothing else of a pod."""
        value = None if deletion_cost is None else str(deletion_cost)
        patch = {"metadata": {"uid": pod.uid, "annotations": {DELETION_COST_ANNOTATION: value}}}
        try:
            stored = await self._client.merge(
                path_of("Pod", pod.namespace, pod.name), patch, fieldManager=FIELD_MANAGER
            )
        except Forbidden:
            raise
        except (NotFound, Refused):
            return
        self._cache.put("Pod", stored)


def _refusal(error: Unreachable) -> Refused | None:
    """A field that a Deployment does not have is answered with 500, which it is not."""
    _, mistyped, detail = str(error).partition(_MISTYPED)
    return Refused(f"the template is not a pod template: {detail.rpartition('): ')[2]}") if mistyped else None
