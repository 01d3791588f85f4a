"""What of a live Deployment is ours, and whether it is as we want it: decided locally, so that idle means no request.

Pure. Compares only what we set; what others add (a restart's annotation, an injected sidecar) is none of our business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from longshore_operator.core.children import APPLIED_ANNOTATION

FIELD_MANAGER = "longshore-operator"
_AUTOSCALERS = ("kube-controller-manager", "horizontal-pod-autoscaler", "keda", "autoscaler")
_MERGE_KEYS = ("name", "containerPort", "mountPath", "devicePath", "topologyKey", "key", "ip", "uid")


def is_owned_by(child: Mapping[str, Any], owner_uid: str) -> bool:
    """Whether the object's controller is the owner of this UID."""
    owners = child["metadata"].get("ownerReferences") or ()
    return any(one.get("controller") and one.get("uid") == owner_uid for one in owners)


def replicas_manager(deployment: Mapping[str, Any]) -> str | None:
    """Return the autoscaler that writes `spec.replicas` of the Deployment itself, if one does."""
    for entry in deployment["metadata"].get("managedFields") or ():
        manager = str(entry.get("manager", ""))
        writes = "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        if writes and any(word in manager.lower() for word in _AUTOSCALERS):
            return manager
    return None


def differences(wanted: Any, live: Any, path: str = "") -> list[str]:
    """Return the paths of what we want and the live object does not have; what it has besides does not count."""
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return [path] if wanted else []
        return [found for key, value in wanted.items() for found in differences(value, live.get(key), f"{path}.{key}")]
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return _list_differences(wanted, live, path)
    return [] if _same(wanted, live) else [path]


def _same(wanted: Any, live: Any) -> bool:
    """The API server leaves out what is empty or false."""
    return wanted == live or (live is None and wanted in ("", False, 0, None))


def _list_differences(wanted: Sequence[Any], live: Any, path: str) -> list[str]:
    if not isinstance(live, Sequence) or isinstance(live, str):
        return [path] if wanted else []
    key = _merge_key(wanted)
    if key is None:
        return [] if list(wanted) == list(live) else [path]
    by_key = {one.get(key): one for one in live if isinstance(one, Mapping)}
    return [found for one in wanted for found in differences(one, by_key.get(one[key]), f"{path}[{one[key]}]")]


def _merge_key(items: Sequence[Any]) -> str | None:
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    return next((key for key in _MERGE_KEYS if all(key in item for item in items)), None)


def needs_apply(wanted: Mapping[str, Any], live: Mapping[str, Any] | None, settled_generation: int | None) -> list[str]:
    """Return why the Deployment has to be applied; empty when it has not.

    `settled_generation` is the live object's generation right after our last apply of the same manifest: what differs
    since then without a new generation is only how the API server writes it (``0.5`` becomes ``500m``).
    """
    if live is None:
        return ["missing"]
    annotations = live["metadata"].get("annotations") or {}
    if annotations.get(APPLIED_ANNOTATION) != wanted["metadata"]["annotations"][APPLIED_ANNOTATION]:
        return ["template"]
    found = differences(_metadata(wanted), _metadata(live), ".metadata")
    if live["metadata"].get("generation") != settled_generation:
        found += differences(wanted["spec"], live.get("spec"), ".spec")
    return found


def _metadata(deployment: Mapping[str, Any]) -> dict[str, Any]:
    meta = deployment["metadata"]
    return {"labels": meta.get("labels"), "ownerReferences": meta.get("ownerReferences")}
