"""WorkerPool: an app's workers, which queues they take from, and how many there are."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from longshore_operator.api.address import Address
from longshore_operator.api.autoscaling import Autoscaling
from longshore_operator.api.base import (
    Clipped,
    Resource,
    ResourceName,
    SpecModel,
    Status,
    StatusModel,
    Timestamp,
    map_list,
)
from longshore_operator.api.rules import ChangeRule, Rule

Execution = Literal["Processes", "Threads", "Asyncio"]
AckPolicy = Literal["Late", "Early"]
Disruption = Literal["Allow", "Avoid"]

POOL_LABEL = "longshore.dev/worker-pool"
"""On every pod of a pool; the immutable selector of its Deployment."""

WORKER_CONTAINER = "worker"
"""The container of the template that the worker runs in; the operator merges its own fields into it."""

GRACE_BEYOND_DRAIN_SECONDS = 30

MAX_POOL_NAME = 52

_APP = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
)
_IDENTIFIERS = "[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*"

AppPath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    Rule(
        "must be module:attribute, such as shop.tasks:app",
        holds=lambda app: _APP.fullmatch(app) is not None,
        cel=f"self.matches('^{_IDENTIFIERS}:{_IDENTIFIERS}$')",
    ),
]

ImageName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024),
    Rule(
        "must be the name of an image without spaces, such as registry.example/shop:1.4",
        holds=lambda image: re.fullmatch(r"[!-~]+", image) is not None,
        cel="self.matches('^[!-~]+$')",
    ),
]

_TEMPLATE_SCHEMA: dict[str, Any] = {
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {
        "metadata": {
            "type": "object",
            "description": "Labels and annotations of the pods.",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                "labels": {
                    "type": "object",
                    "description": "Labels of the pods.",
                    "maxProperties": 64,
                    "additionalProperties": {"type": "string", "maxLength": 63},
                }
            },
        },
        "spec": {
            "type": "object",
            "description": "A PodSpec. The operator's fields are merged into the container `worker`.",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                "terminationGracePeriodSeconds": {
                    "type": "integer",
                    "format": "int64",
                    "description": "Refused here: it follows from drainTimeoutSeconds.",
                }
            },
        },
    },
}
"""A PodTemplateSpec is free, but for what the API server must see to refuse it."""


def _part(template: Any, *path: str) -> Any:
    for key in path:
        template = template.get(key) if isinstance(template, dict) else None
    return template


class QueueRef(SpecModel):
    """A TaskQueue that the pool takes from."""

    name: ResourceName = Field(description="Name of a TaskQueue in this namespace.")


class WorkerPoolSpec(SpecModel):
    """What the workers run, and how many there are."""

    rules = (
        Rule(
            "names a TaskQueue twice",
            holds=lambda spec: len({queue.name for queue in spec.queues}) == len(spec.queues),
            field="queues",
        ),
        Rule(
            "is set by the operator (drainTimeoutSeconds + 30): set spec.drainTimeoutSeconds instead",
            holds=lambda spec: _part(spec.template, "spec", "terminationGracePeriodSeconds") is None,
            cel="!(has(self.template) && has(self.template.spec) && "
            "has(self.template.spec.terminationGracePeriodSeconds))",
            field="template.spec.terminationGracePeriodSeconds",
            reason="FieldValueForbidden",
        ),
        Rule(
            f"must not have {POOL_LABEL}: the operator sets it, the Deployment selects its pods by it",
            holds=lambda spec: POOL_LABEL not in (_part(spec.template, "metadata", "labels") or {}),
            cel="!(has(self.template) && has(self.template.metadata) && has(self.template.metadata.labels) && "
            f"'{POOL_LABEL}' in self.template.metadata.labels)",
            field="template.metadata.labels",
            reason="FieldValueForbidden",
        ),
    )
    change_rules = (
        ChangeRule(
            "the pool is autoscaled: change autoscaling.minReplicas and autoscaling.maxReplicas, or remove "
            "autoscaling to scale by hand",
            holds=lambda old, new: (
                old.autoscaling is None or new.autoscaling is None or new.replicas in (old.replicas, 1)
            ),
            # Back to the default is allowed: it is what removing the field from a manifest looks like from here.
            cel="!has(oldSelf.autoscaling) || !has(self.autoscaling) || self.replicas == oldSelf.replicas || "
            "self.replicas == 1",
            field="replicas",
        ),
    )

    app: AppPath = Field(description="The app as `module:attribute`, such as `shop.tasks:app`.")
    queues: list[QueueRef] = Field(
        min_length=1,
        max_length=100,
        description="TaskQueues of this namespace that the workers take from, fairly. All on one broker.",
        json_schema_extra=map_list("name"),
    )
    execution: Execution = Field(
        default="Processes",
        description="How tasks run in a worker: in forked processes, in threads, or on one event loop.",
    )
    concurrency: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Tasks that one worker runs at a time. Default: the container's CPU limit, else its "
        "request rounded up; never the node's.",
    )
    ack_policy: AckPolicy = Field(
        default="Late",
        description="When a message is done with: after its task ended (Late: at least once) or before it "
        "starts (Early: at most once). A task or an app that sets acks_late itself wins.",
    )
    drain_timeout_seconds: int = Field(
        default=600,
        ge=0,
        le=604_800,
        description="Seconds that a worker which is told to stop has for the tasks that it is running. The "
        "pods get 30 seconds more as terminationGracePeriodSeconds.",
    )
    replicas: int = Field(
        default=1,
        ge=0,
        le=10_000,
        description="Number of pods when the pool is not autoscaled; ignored under autoscaling.",
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="Let the pool follow its queues. Default: it has the size that replicas says."
    )
    disruption: Disruption = Field(
        default="Allow",
        description="Avoid asks cluster-autoscaler and Karpenter not to remove a node while a pod of the pool "
        "is on it.",
    )
    result_backend: Address | None = Field(
        default=None,
        description="Where results are stored. Default: what the app says; where it says nothing, nowhere.",
    )
    image: ImageName | None = Field(
        default=None,
        description="Image of the container `worker`; wins over the template's. One of the two is needed in a cluster; "
        "`longshore dev` needs none.",
    )
    template: dict[str, Any] = Field(
        default_factory=dict,
        description="A PodTemplateSpec that the pods are made from: resources, volumes, environment, affinity. "
        "The container named `worker` is the worker; it may be left out.",
        json_schema_extra=_TEMPLATE_SCHEMA,
    )

    @property
    def termination_grace_period_seconds(self) -> int:
        """What the pods get between SIGTERM and SIGKILL."""
        return self.drain_timeout_seconds + GRACE_BEYOND_DRAIN_SECONDS


class Decision(StatusModel):
    """Why the pool has the size that it has."""

    reason: Annotated[str, Clipped(128)] = Field(description="Why, as one CamelCase word.")
    message: Annotated[str, Clipped(1024)] = Field(default="", description="Why, as a sentence.")
    time: Timestamp = Field(description="When it was decided.")


class WorkerPoolStatus(Status):
    """What the pool is and does. What is unknown is absent."""

    replicas: int = Field(default=0, ge=0, description="Pods that there are.")
    ready_replicas: int = Field(default=0, ge=0, description="Pods that are ready.")
    desired_replicas: int | None = Field(default=None, ge=0, description="Pods that there should be.")
    busy_slots: int | None = Field(default=None, ge=0, description="Tasks that run now.")
    capacity_slots: int | None = Field(default=None, ge=0, description="Tasks that could run at a time.")
    backlog: int | None = Field(
        default=None, ge=0, description="Messages in the pool's queues, those that run included."
    )
    last_decision: Decision | None = Field(default=None, description="Why the pool has the size that it has.")
    selector: str | None = Field(
        default=None, max_length=512, description="The label selector of the pods, for HPA and KEDA."
    )
    tasks: list[Annotated[str, Clipped(253)]] = Field(
        default_factory=list,
        max_length=200,
        description="Names of the tasks that the workers know, the first 200 of them.",
    )
    task_count: int | None = Field(default=None, ge=0, description="How many tasks the workers know.")
    measured_time: Timestamp | None = Field(default=None, description="When the figures were measured.")


class WorkerPool(Resource):
    """An app's workers as a Deployment that follows its queues and is never shrunk while a pod is busy."""

    plural: ClassVar[str] = "workerpools"
    rules = (
        Rule(
            f"the name of a WorkerPool has at most {MAX_POOL_NAME} characters: Deployment, pods and a label carry it",
            holds=lambda pool: len(pool.metadata.name) <= MAX_POOL_NAME,
            cel=f"self.metadata.name.size() <= {MAX_POOL_NAME}",
            field="metadata.name",
        ),
    )

    kind: Literal["WorkerPool"] = "WorkerPool"
    spec: WorkerPoolSpec = Field(description="What the workers run, and how many there are.")
    status: WorkerPoolStatus = Field(default_factory=WorkerPoolStatus, description="What the pool is and does.")

    @property
    def key(self) -> str:
        """``namespace/name``, by which workers say which pool they are of."""
        return f"{self.metadata.namespace}/{self.metadata.name}"
