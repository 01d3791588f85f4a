"""The CustomResourceDefinitions: the models' schemas, the names, the columns of `kubectl get`, the subresources.

Pure: models in, documents out. Where the documents are written to is the business of a command.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from longshore_operator.api.base import GROUP, VERSION, Resource
from longshore_operator.api.cronschedule import CronSchedule
from longshore_operator.api.rules import with_validations
from longshore_operator.api.schema import Schema, structural_schema
from longshore_operator.api.taskqueue import TaskQueue
from longshore_operator.api.workerpool import WorkerPool

HEADER = "# Made by `longshore-operator crds` from the models in longshore_operator.api; do not edit.\n"

_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


class _WithoutAnchors(yaml.SafeDumper):
    """Writes out what is there twice, as a person reads it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - yaml's signature
        return True


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`. Those of priority 1 show with `-o wide` only."""

    name: str
    type: str
    path: str
    description: str
    priority: int = 0

    def to_wire(self) -> dict[str, Any]:
        """As it stands in a CRD."""
        wire = {"name": self.name, "type": self.type, "jsonPath": self.path, "description": self.description}
        return {**wire, "priority": self.priority} if self.priority else wire


@dataclass(frozen=True)
class Definition:
    """What a CRD says about a kind beside its schema."""

    model: type[Resource]
    short_name: str
    columns: tuple[Column, ...]
    subresources: dict[str, Any] = field(default_factory=lambda: {"status": {}})

    @property
    def kind(self) -> str:
        """The kind's name, CamelCase."""
        return self.model.__name__

    @property
    def file_name(self) -> str:
        """Where the CRD is kept in `crds/`."""
        return f"{GROUP}_{self.model.plural}.yaml"


def _of_condition(condition: str, part: str) -> str:
    return f'.status.conditions[?(@.type=="{condition}")].{part}'


_READY = Column("Ready", "string", _of_condition("Ready", "status"), "Whether all is as the spec says.")
_REASON = Column("Reason", "string", _of_condition("Ready", "reason"), "Why it is ready or is not.")
_MESSAGE = Column("Message", "string", _of_condition("Ready", "message"), "The same as a sentence.", priority=1)
_AGE = Column("Age", "date", ".metadata.creationTimestamp", "How long the object exists.")

DEFINITIONS = (
    Definition(
        TaskQueue,
        "tq",
        (
            _READY,
            _REASON,
            Column("Backlog", "integer", ".status.ready", "Messages that a worker could claim now."),
            Column("Leased", "integer", ".status.leased", "Messages that workers hold."),
            Column("Delayed", "integer", ".status.delayed", "Messages that wait for their time."),
            Column("Dead", "integer", ".status.dead", "Dead letters."),
            Column("Oldest(s)", "integer", ".status.oldestAgeSeconds", "Seconds that the oldest ready message waits."),
            _AGE,
            Column("Suspend", "boolean", ".spec.suspend", "Whether workers claim nothing.", priority=1),
            _MESSAGE,
        ),
    ),
    Definition(
        WorkerPool,
        "wp",
        (
            _READY,
            _REASON,
            Column("Pods", "integer", ".status.readyReplicas", "Pods that are ready."),
            Column("Desired", "integer", ".status.desiredReplicas", "Pods that there should be."),
            Column("Busy", "integer", ".status.busySlots", "Tasks that run now."),
            Column("Backlog", "integer", ".status.backlog", "Messages in the pool's queues, running ones included."),
            Column("Min", "integer", ".spec.autoscaling.minReplicas", "Fewest pods."),
            Column("Max", "integer", ".spec.autoscaling.maxReplicas", "Most pods."),
            Column("Why", "string", ".status.lastDecision.reason", "Why the pool has the size that it has."),
            _AGE,
            _MESSAGE,
        ),
        {"status": {}, "scale": _SCALE},
    ),
    Definition(
        CronSchedule,
        "csch",
        (
            Column("Schedule", "string", ".status.schedule", "When the task is sent."),
            Column("Zone", "string", ".spec.timeZone", "The time zone of the schedule."),
            Column("Suspend", "boolean", ".spec.suspend", "Whether the schedule is paused."),
            Column("Last", "date", ".status.lastTickTime", "How long ago the latest tick was sent."),
            # A column of type `date` shows `<invalid>` for a time to come.
            Column("Next", "string", ".status.nextTickTime", "The next tick."),
            _READY,
            _REASON,
            _AGE,
            Column("Task", "string", ".spec.task", "The task that is sent.", priority=1),
            Column("Queue", "string", ".spec.queue", "The TaskQueue that it is sent to.", priority=1),
            _MESSAGE,
        ),
    ),
)


def custom_resource_definitions() -> dict[str, dict[str, Any]]:
    """Every CRD by the name of its file."""
    return {definition.file_name: custom_resource_definition(definition) for definition in DEFINITIONS}


def custom_resource_definition(definition: Definition) -> dict[str, Any]:
    """The CRD of one kind."""
    plural, kind = definition.model.plural, definition.kind
    names = {
        "plural": plural,
        "singular": kind.lower(),
        "kind": kind,
        "listKind": f"{kind}List",
        "shortNames": [definition.short_name],
        "categories": ["longshore"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [_version(definition)]},
    }


def to_yaml(document: dict[str, Any]) -> str:
    """A CRD as it stands in its file."""
    return HEADER + yaml.dump(document, Dumper=_WithoutAnchors, sort_keys=False, width=120, allow_unicode=True)


def _version(definition: Definition) -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": object_schema(definition.model)},
        "subresources": definition.subresources,
        "additionalPrinterColumns": [column.to_wire() for column in definition.columns],
    }


def object_schema(model: type[Resource]) -> Schema:
    """The whole object's schema. Of the metadata a CRD may say nothing but that it is there."""
    schema = structural_schema(model)
    properties = {
        "apiVersion": {"type": "string", "description": f"`{GROUP}/{VERSION}`."},
        "kind": {"type": "string", "description": f"`{model.__name__}`."},
        "metadata": {"type": "object"},
        "spec": schema["properties"]["spec"],
        "status": schema["properties"]["status"],
    }
    required = [name for name in schema.get("required", ()) if name == "spec"]
    whole = {"type": "object", "description": schema["description"], "properties": properties}
    return with_validations({**whole, "required": required} if required else whole, (*model.rules, *model.change_rules))
