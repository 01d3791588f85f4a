"""The Deployment of a pool: from a WorkerPool and its TaskQueues to the manifest that is applied, field for field.

Pure. The user's pod template is taken as it is; the operator's own fields go over it where they must hold (command,
selector label, grace period), and under it where they are defaults (security context, probes).
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longshore_operator.api.base import API_VERSION
from longshore_operator.api.taskqueue import TaskQueue
from longshore_operator.api.workerpool import POOL_LABEL, WORKER_CONTAINER, WorkerPool
from longshore_operator.core.quantities import slots_from_resources

CHECKSUM_ANNOTATION = "longshore.dev/secrets-checksum"
APPLIED_ANNOTATION = "longshore.dev/applied"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "longshore-operator"
HTTP_PORT = 8080
UNREACHABLE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Connections:
    """How the workers get their addresses: an environment variable's source each, and a hash of what is in them."""

    broker: Mapping[str, Any]
    result_backend: Mapping[str, Any] | None = None
    checksum: str = ""


def concurrency_of(pool: WorkerPool) -> int:
    """Return how many tasks one worker of the pool runs at a time."""
    if pool.spec.concurrency is not None:
        return pool.spec.concurrency
    return slots_from_resources(_worker_of(pool.spec.template).get("resources") or {})


def has_image(pool: WorkerPool) -> bool:
    """Whether the pool says which image its workers run."""
    return bool(pool.spec.image or _worker_of(pool.spec.template).get("image"))


def deployment_for(
    pool: WorkerPool, queues: Sequence[TaskQueue], connections: Connections, replicas: int
) -> dict[str, Any]:
    """Return the whole Deployment as it is applied; `replicas` is always part of it."""
    labels = {MANAGED_BY_LABEL: MANAGED_BY, POOL_LABEL: pool.name}
    deployment: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": pool.name,
            "namespace": pool.namespace,
            "labels": labels,
            "ownerReferences": [_owner(pool)],
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": {POOL_LABEL: pool.name}},
            "template": _template(pool, queues, connections, labels),
        },
    }
    deployment["metadata"]["annotations"] = {APPLIED_ANNOTATION: applied_hash(deployment)}
    return deployment


def applied_hash(deployment: Mapping[str, Any]) -> str:
    """Return a hash of everything but the replicas: it tells when a field that we set is not wanted any more."""
    spec = {key: value for key, value in deployment["spec"].items() if key != "replicas"}
    text = json.dumps([deployment["metadata"]["labels"], spec], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def worker_command(pool: WorkerPool, queues: Sequence[TaskQueue]) -> list[str]:
    """Return the command line of the container `worker`. A suspended queue is not taken from."""
    spec = pool.spec
    active = [queue for queue in queues if not queue.spec.suspend]
    options = {
        "-Q": ",".join(queue.queue_name for queue in active or queues),
        "-c": str(concurrency_of(pool)),
        "--execution": spec.execution.lower(),
        "-l": "info",
        "--ack-policy": spec.ack_policy.lower(),
        "--drain-timeout": str(spec.drain_timeout_seconds),
        "--http-port": str(HTTP_PORT),
    }
    command = ["longshore", "worker", spec.app, *(word for option in options.items() for word in option)]
    for queue in queues:
        command += ["--dead-letter", _dead_letter(queue)]
    return command


def _dead_letter(queue: TaskQueue) -> str:
    parts = [f"{queue.queue_name}={queue.dead_letter_queue_name}"]
    if queue.spec.dead_letter is not None:
        parts += [
            str(queue.spec.dead_letter.max_deliveries),
            "keep" if queue.spec.dead_letter.keep_failures else "drop",
        ]
    return ":".join(parts)


def _owner(pool: WorkerPool) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkerPool",
        "name": pool.name,
        "uid": pool.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _template(
    pool: WorkerPool, queues: Sequence[TaskQueue], connections: Connections, labels: Mapping[str, str]
) -> dict[str, Any]:
    template = copy.deepcopy(pool.spec.template)
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    annotations = {**(meta.get("annotations") or {}), **_disruption(pool)}
    if connections.checksum:
        annotations[CHECKSUM_ANNOTATION] = connections.checksum
    meta = {**meta, "labels": {**(meta.get("labels") or {}), **labels}}
    if annotations:
        meta["annotations"] = annotations
    return {**template, "metadata": meta, "spec": _pod_spec(pool, spec, _worker(pool, spec, queues, connections))}


def _disruption(pool: WorkerPool) -> dict[str, str]:
    if pool.spec.disruption != "Avoid":
        return {}
    return {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}


def _pod_spec(pool: WorkerPool, spec: Mapping[str, Any], worker: dict[str, Any]) -> dict[str, Any]:
    others = [one for one in spec.get("containers") or () if one.get("name") != WORKER_CONTAINER]
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        **spec,
        "containers": [worker, *others],
        "securityContext": {**security, **(spec.get("securityContext") or {})},
        "terminationGracePeriodSeconds": pool.spec.termination_grace_period_seconds,
        "tolerations": _tolerations(spec.get("tolerations") or ()),
    }


def _tolerations(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A node that is silent for 30 s (not 5 minutes) loses its pods, unless the template says else."""
    taint = "node.kubernetes.io/unreachable"
    tolerations = [dict(one) for one in given]
    if any(one.get("key") in {taint, None} for one in tolerations):
        return tolerations
    ours = {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": UNREACHABLE_SECONDS}
    return [*tolerations, ours]


def _worker_of(template: Mapping[str, Any]) -> dict[str, Any]:
    containers = (template.get("spec") or {}).get("containers") or ()
    return next((dict(one) for one in containers if one.get("name") == WORKER_CONTAINER), {})


def _worker(
    pool: WorkerPool, spec: Mapping[str, Any], queues: Sequence[TaskQueue], connections: Connections
) -> dict[str, Any]:
    given = _worker_of({"spec": spec})
    given.pop("args", None)
    ports = [port for port in given.get("ports") or () if port.get("containerPort") != HTTP_PORT]
    worker = {
        **_probes(),
        **given,
        "name": WORKER_CONTAINER,
        "command": worker_command(pool, queues),
        "env": _environment(pool, given.get("env") or (), connections),
        "ports": [{"name": "longshore", "containerPort": HTTP_PORT, "protocol": "TCP"}, *ports],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            **(given.get("securityContext") or {}),
        },
    }
    return {**worker, "image": pool.spec.image} if pool.spec.image else worker


def _probes() -> dict[str, Any]:
    """The app's import may take long: nothing but the start-up probe watches it."""

    def get(path: str, **times: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": HTTP_PORT, "scheme": "HTTP"}, "timeoutSeconds": 5, **times}

    return {
        "startupProbe": get("/healthz", periodSeconds=1, failureThreshold=300),
        "readinessProbe": get("/readyz", periodSeconds=2, failureThreshold=3),
        "livenessProbe": get("/healthz", periodSeconds=10, failureThreshold=6),
    }


def _environment(
    pool: WorkerPool, given: Sequence[Mapping[str, Any]], connections: Connections
) -> list[dict[str, Any]]:
    ours: dict[str, Mapping[str, Any]] = {
        "LONGSHORE_BROKER_URL": connections.broker,
        "LONGSHORE_POOL": {"value": pool.key},
        "LONGSHORE_POD_UID": {"valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}},
        "LONGSHORE_DRAIN_TIMEOUT": {"value": str(pool.spec.drain_timeout_seconds)},
        "LONGSHORE_HTTP_PORT": {"value": str(HTTP_PORT)},
    }
    if connections.result_backend is not None:
        ours["LONGSHORE_RESULT_BACKEND"] = connections.result_backend
    own = [{"name": name, **source} for name, source in ours.items()]
    return [*own, *(dict(one) for one in given if one.get("name") not in ours)]
