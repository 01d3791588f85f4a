"""A pod as decisions see it: a small value made from the API's dict (or from a local process).

Knows the pod's shape; knows neither the API nor what the pod's worker does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
WORKER_CONTAINER = "worker"


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod. Times are seconds since the epoch; `None` is unknown or never."""

    namespace: str
    name: str
    uid: str
    owner: str | None = None
    """UID of the ReplicaSet that owns it."""
    node: str | None = None
    phase: str = "Pending"
    ready: bool = False
    ready_since: float | None = None
    created_at: float | None = None
    deletion_cost: int = 0
    terminating: bool = False
    restarts: int = 0
    waiting_reason: str | None = None
    """Why a container waits: ImagePullBackOff, CrashLoopBackOff …"""
    waiting_message: str | None = None
    terminated_reason: str | None = None
    """How the container ended last time: OOMKilled, Error …"""
    unschedulable_message: str | None = None


def pod_view(pod: Mapping[str, Any]) -> PodView:
    """Read a pod's dict. What is missing is unknown; nothing raises for an odd pod."""
    meta, spec, status = pod.get("metadata") or {}, pod.get("spec") or {}, pod.get("status") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    ready = conditions.get("Ready") or {}
    waiting = _waiting(status)
    return PodView(
        namespace=meta.get("namespace", ""),
        name=meta.get("name", ""),
        uid=meta.get("uid", ""),
        owner=_controller_uid(meta),
        node=spec.get("nodeName"),
        phase=status.get("phase", "Pending"),
        ready=ready.get("status") == "True",
        ready_since=parse_time(ready.get("lastTransitionTime")) if ready.get("status") == "True" else None,
        created_at=parse_time(meta.get("creationTimestamp")),
        deletion_cost=_cost(meta),
        terminating="deletionTimestamp" in meta,
        restarts=max((c.get("restartCount", 0) for c in status.get("containerStatuses") or ()), default=0),
        waiting_reason=waiting.get("reason"),
        waiting_message=waiting.get("message"),
        terminated_reason=_terminated(status),
        unschedulable_message=_unschedulable(conditions.get("PodScheduled") or {}),
    )


def parse_time(text: str | None) -> float | None:
    """Return an RFC 3339 time as seconds since the epoch."""
    if not text:
        return None
    return datetime.fromisoformat(text).timestamp()


def _controller_uid(meta: Mapping[str, Any]) -> str | None:
    owners = meta.get("ownerReferences") or ()
    return next((o.get("uid") for o in owners if o.get("controller")), None)


def _cost(meta: Mapping[str, Any]) -> int:
    text = (meta.get("annotations") or {}).get(DELETION_COST_ANNOTATION, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _container_statuses(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _waiting(status: Mapping[str, Any]) -> Mapping[str, Any]:
    waits = [(c.get("state") or {}).get("waiting") or {} for c in _container_statuses(status)]
    return next((w for w in waits if w.get("reason") not in (None, "ContainerCreating", "PodInitializing")), {})


def _terminated(status: Mapping[str, Any]) -> str | None:
    for container in _container_statuses(status):
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            reason = (state.get("terminated") or {}).get("reason")
            if reason:
                return str(reason)
    return None


def _unschedulable(condition: Mapping[str, Any]) -> str | None:
    if condition.get("status") == "False" and condition.get("reason") == "Unschedulable":
        return str(condition.get("message", ""))
    return None
