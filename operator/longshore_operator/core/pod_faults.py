"""What keeps a pool's pods from working, read from the pods and their Deployment, with what to do about it.

Pure; each rule is one row. The first that fits is the one a person should mend first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from longshore_operator.api.conditions import Reason
from longshore_operator.core.faults import Fault
from longshore_operator.core.pods import PodView

_PULL = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"})
_START = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
CRASH_RESTARTS = 2
"""A container that has crashed this often and is not ready crash-loops, between two of the kubelet's back-offs too."""


def pods_fault(deployment: Mapping[str, Any] | None, pods: Sequence[PodView]) -> Fault | None:
    """Return what is wrong with the pods, if something is."""
    for look in (_cannot_create, _cannot_pull, _cannot_start, _crashes, _cannot_schedule):
        fault = look(deployment or {}, [pod for pod in pods if not pod.terminating])
        if fault is not None:
            return fault
    return None


def _condition(deployment: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = (deployment.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == kind), {})


def _cannot_create(deployment: Mapping[str, Any], _pods: Sequence[PodView]) -> Fault | None:
    failure = _condition(deployment, "ReplicaFailure")
    if failure.get("status") != "True":
        return None
    message = str(failure.get("message", ""))
    if "exceeded quota" in message:
        return Fault(Reason.QUOTA_EXCEEDED, f"a ResourceQuota allows no more pods: {message}")
    return Fault(Reason.FAILED_CREATE, f"pods cannot be created: {message}")


def _cannot_pull(_deployment: Mapping[str, Any], pods: Sequence[PodView]) -> Fault | None:
    pod = next((pod for pod in pods if pod.waiting_reason in _PULL), None)
    if pod is None:
        return None
    why = pod.waiting_message or pod.waiting_reason
    return Fault(
        Reason.IMAGE_PULL_BACK_OFF, f"pod {pod.name} cannot pull its image; check image and pull secret: {why}"
    )


def _cannot_start(_deployment: Mapping[str, Any], pods: Sequence[PodView]) -> Fault | None:
    pod = next((pod for pod in pods if pod.waiting_reason in _START), None)
    if pod is None:
        return None
    return Fault(Reason.FAILED_CREATE, f"pod {pod.name} cannot start ({pod.waiting_reason}): {pod.waiting_message}")


def _crashes(_deployment: Mapping[str, Any], pods: Sequence[PodView]) -> Fault | None:
    pod = next((pod for pod in pods if _crash_loops(pod)), None)
    if pod is None:
        return None
    ended = f" (last: {pod.terminated_reason})" if pod.terminated_reason else ""
    advice = "raise its memory limit" if pod.terminated_reason == "OOMKilled" else f"see kubectl logs -p {pod.name}"
    return Fault(Reason.CRASH_LOOP_BACK_OFF, f"pod {pod.name} crashed {pod.restarts} times{ended}; {advice}")


def _crash_loops(pod: PodView) -> bool:
    return pod.waiting_reason == "CrashLoopBackOff" or (not pod.ready and pod.restarts >= CRASH_RESTARTS)


def _cannot_schedule(_deployment: Mapping[str, Any], pods: Sequence[PodView]) -> Fault | None:
    pod = next((pod for pod in pods if pod.unschedulable_message is not None), None)
    if pod is None:
        return None
    return Fault(Reason.UNSCHEDULABLE, f"no node takes pod {pod.name}: {pod.unschedulable_message}")
