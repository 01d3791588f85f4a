"""The `Resources` port on a cluster: reads from the cache, writes status and finalizers, records Events."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Literal

from longshore_operator.engine.ports import Conflict, Key, Kind, Manifest
from longshore_operator.kube.cache import Cache
from longshore_operator.kube.client import ApiClient, NotFound
from longshore_operator.kube.events import Recorder
from longshore_operator.kube.lists import path_of

FIELD_MANAGER = "longshore-operator"


class KubeResources:
    """The declared resources of a cluster, or of some of its namespaces."""

    def __init__(self, client: ApiClient, cache: Cache, recorder: Recorder) -> None:
        self._client = client
        self._cache = cache
        self._recorder = recorder

    def get(self, key: Key) -> Manifest | None:
        """Return the resource as the cache has it."""
        return self._cache.get(key.kind, key.namespace, key.name)

    def list(self, kind: Kind, namespace: str | None = None) -> Sequence[Manifest]:
        """Return every resource of a kind."""
        return self._cache.list(kind, namespace)

    async def write_status(self, manifest: Manifest, status: Manifest) -> None:
        """Replace the status; refused as `Conflict` when the resource is not as it was read."""
        path = self._path(manifest, "status")
        await self._store(manifest, self._client.put(path, {**manifest, "status": status}, fieldManager=FIELD_MANAGER))

    async def write_finalizers(self, manifest: Manifest, finalizers: Sequence[str]) -> None:
        """Replace the finalizers; refused as `Conflict` when the resource is not as it was read."""
        meta = {"resourceVersion": manifest["metadata"]["resourceVersion"], "finalizers": list(finalizers)}
        patch = self._client.merge(self._path(manifest), {"metadata": meta}, fieldManager=FIELD_MANAGER)
        await self._store(manifest, patch)

    async def record(self, manifest: Manifest, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Hand an Event to the recorder."""
        self._recorder.record(manifest, kind, reason, message)

    def _path(self, manifest: Manifest, subresource: str | None = None) -> str:
        meta = manifest["metadata"]
        return path_of(manifest["kind"], meta["namespace"], meta["name"], subresource)

    async def _store(self, manifest: Manifest, write: Awaitable[Manifest]) -> None:
        try:
            stored = await write
        except NotFound:
            self._cache.drop(manifest["kind"], manifest)
            raise Conflict("the resource is gone") from None
        self._cache.put(manifest["kind"], stored)
