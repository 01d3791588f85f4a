"""Periodic lists that fill the cache and repair what a watch missed.

Reads from the API server's own cache (`resourceVersion=0`), page by page; the cache sorts old from new.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from longshore.exceptions import LongshoreError
from longshore_operator.engine.ports import Manifest, Refused, Unreachable
from longshore_operator.kube.cache import POOL_LABEL, Cache
from longshore_operator.kube.client import ApiClient, Forbidden, NotFound
from longshore_operator.kube.watch import LABELLED, WATCHED

logger = logging.getLogger(__name__)

REPAIR_SECONDS = 60.0


def path_of(kind: str, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    """Return the REST path of a kind, of all namespaces or of one, or of one object."""
    group, version, plural = WATCHED[kind]
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    parts = [root, *(("namespaces", namespace) if namespace else ()), plural, name, subresource]
    return "/".join(part for part in parts if part)


async def list_all(client: ApiClient, cache: Cache, namespaces: Sequence[str]) -> None:
    """Take every kind into the cache, once."""
    for kind in WATCHED:
        await _list_kind(client, cache, kind, namespaces)


async def first_lists(client: ApiClient, cache: Cache, namespaces: Sequence[str]) -> None:
    """Fill the cache at the start; what will not mend itself is an error for the user, in one line."""
    try:
        await list_all(client, cache, namespaces)
    except NotFound:
        raise LongshoreError(
            "Longshore's CRDs are not installed in this cluster: kubectl apply --server-side -f crds/, or helm install"
        ) from None
    except Forbidden as error:
        raise LongshoreError(
            f"the operator's account lacks a right: {error}; bind it to a role as the Helm chart does (rbac.create)"
        ) from None
    except Refused as error:
        raise LongshoreError(f"the API server refuses a list: {error}") from None


async def keep_listing(client: ApiClient, cache: Cache, namespaces: Sequence[str]) -> None:
    """List again and again; a failure is for the next time."""
    while True:
        await asyncio.sleep(REPAIR_SECONDS)
        try:
            await list_all(client, cache, namespaces)
        except (Unreachable, Refused, NotFound) as error:
            logger.warning("listing failed: %s", error)


async def _list_kind(client: ApiClient, cache: Cache, kind: str, namespaces: Sequence[str]) -> None:
    items: list[Manifest] = []
    version = ""
    for namespace in namespaces or (None,):
        found = await _pages(client, kind, namespace, items)
        version = min(version or found, found, key=int)
    cache.replace(kind, items, version)


async def _pages(client: ApiClient, kind: str, namespace: str | None, items: list[Manifest]) -> str:
    group, version, _ = WATCHED[kind]
    params = {"resourceVersion": "0"}
    if kind in LABELLED:
        params["labelSelector"] = POOL_LABEL
    page = await client.get(path_of(kind, namespace), **params)
    stamp = {"apiVersion": f"{group}/{version}" if group else version, "kind": kind}
    items.extend({**stamp, **item} for item in page.get("items") or ())
    return str(page["metadata"]["resourceVersion"])
