"""TaskQueue: a queue on a broker, its limits and dead letters, and what is in it."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from longshore.brokers.port import QueueType
from longshore_operator.api.address import Address
from longshore_operator.api.base import (
    Clipped,
    Resource,
    SpecModel,
    Status,
    StatusModel,
    Timestamp,
    unseen_default,
)
from longshore_operator.api.rules import ChangeRule, Rule

DeletionPolicy = Literal["Retain", "Delete"]

DEFAULT_BROKER = "default"
"""The operator's broker that a queue is on when it does not say. `longshore dev` keeps it in its own folder."""

_QUEUE_NAME = re.compile(r"[!-~]+")

QueueName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    Rule(
        "must be printable ASCII without spaces, '*' and '#', which brokers read as patterns",
        holds=lambda name: _QUEUE_NAME.fullmatch(name) is not None and "*" not in name and "#" not in name,
        cel="self.matches('^[!-~]+$') && !self.contains('*') && !self.contains('#')",
    ),
    Rule(
        "must not start with 'amq.', which RabbitMQ keeps for itself",
        holds=lambda name: not name.startswith("amq."),
        cel="!self.startsWith('amq.')",
    ),
]
"""The name of a queue on a broker, as Celery's clients use it."""

_QUEUE_NAME_CEL = "(has({0}.spec.queueName) ? {0}.spec.queueName : {0}.metadata.name)"


class DeadLetter(SpecModel):
    """Where messages go that cannot be done, and when."""

    queue_name: QueueName | None = Field(
        default=None,
        description="The queue that takes the dead letters. Default: the queue's name with `.dead` behind it.",
    )
    max_deliveries: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="How many started executions may end without an answer (a worker that died) until the "
        "message counts as poison.",
    )
    keep_failures: bool = Field(
        default=True,
        description="Keep a task that failed for good, too, with its exception and history, so that it can be "
        "replayed.",
    )


class TaskQueueSpec(SpecModel):
    """What the queue should be."""

    change_rules = (
        ChangeRule(
            "is immutable: make a new TaskQueue, or delete this one and create it again",
            holds=lambda old, new: old.type == new.type,
            cel="self.type == oldSelf.type",
            field="type",
        ),
    )
    rules = (
        Rule(
            "does not go with type Quorum: quorum queues have no such priorities; leave it out or use type Classic",
            holds=lambda spec: spec.type != "Quorum" or spec.max_priority is None,
            cel="self.type != 'Quorum' || !has(self.maxPriority)",
            field="maxPriority",
            reason="FieldValueForbidden",
        ),
    )

    queue_name: QueueName | None = Field(
        default=None, description="Name of the queue on the broker. Immutable. Default: `metadata.name`."
    )
    broker: Address = Field(
        default=Address(name=DEFAULT_BROKER),
        description="The broker that holds the queue. Default: the operator's broker named `default`; "
        "`longshore dev` has a broker of its own in its folder.",
        json_schema_extra=unseen_default,
    )
    type: QueueType = Field(
        default="Classic",
        description="Kind of queue on RabbitMQ; the other brokers have one kind only. Immutable. A queue that is there "
        "already is adopted as it is.",
    )
    max_priority: int | None = Field(
        default=None,
        ge=1,
        le=10,
        description="Highest priority of a message; 9 goes first. Default: RabbitMQ declares no priorities. "
        "Not with Quorum.",
    )
    suspend: bool = Field(
        default=False, description="Pause the queue: messages are taken in and kept, workers claim none of them."
    )
    dead_letter: DeadLetter | None = Field(
        default=None,
        description="Dead letters of this queue. Without it, what cannot be decoded or run at all still goes "
        "to the queue `<queueName>.dead`; failures are not kept.",
    )
    deletion_policy: DeletionPolicy = Field(
        default="Retain",
        description="What becomes of the queue on the broker, and of the messages in it, when this object is deleted.",
    )


class Rate(StatusModel):
    """Messages a minute, measured."""

    in_per_minute: float | None = Field(default=None, ge=0, description="Messages that came in, a minute.")
    out_per_minute: float | None = Field(default=None, ge=0, description="Messages that were settled, a minute.")


class TaskQueueStatus(Status):
    """What is in the queue. A figure that the broker cannot tell is absent."""

    ready: int | None = Field(default=None, ge=0, description="Messages that a worker could claim now.")
    leased: int | None = Field(default=None, ge=0, description="Messages that workers hold.")
    delayed: int | None = Field(default=None, ge=0, description="Messages that wait for their time.")
    dead: int | None = Field(default=None, ge=0, description="Dead letters of the queue.")
    oldest_age_seconds: int | None = Field(default=None, ge=0, description="How long the oldest ready message waits.")
    rates: Rate | None = Field(default=None, description="Messages a minute.")
    consuming_pools: list[Annotated[str, Clipped(253)]] = Field(
        default_factory=list, max_length=100, description="WorkerPools of this namespace that take from the queue."
    )
    measured_time: Timestamp | None = Field(default=None, description="When the figures were measured.")


class TaskQueue(Resource):
    """A queue on a broker: what it is, what is in it, and where its dead letters go."""

    plural: ClassVar[str] = "taskqueues"
    rules = (
        Rule(
            "must be another queue than queueName: dead letters would be run again",
            holds=lambda queue: queue.dead_letter_queue_name != queue.queue_name,
            cel="!has(self.spec.deadLetter) || !has(self.spec.deadLetter.queueName) || "
            "self.spec.deadLetter.queueName != " + _QUEUE_NAME_CEL.format("self"),
            field="spec.deadLetter.queueName",
        ),
    )
    change_rules = (
        ChangeRule(
            "is immutable: messages would stay behind in the old queue; make a new TaskQueue",
            holds=lambda old, new: old.queue_name == new.queue_name,
            cel=f"{_QUEUE_NAME_CEL.format('self')} == {_QUEUE_NAME_CEL.format('oldSelf')}",
            field="spec.queueName",
        ),
    )

    kind: Literal["TaskQueue"] = "TaskQueue"
    # A default must satisfy the rules by itself, before the defaults within it are filled in.
    spec: TaskQueueSpec = Field(default=TaskQueueSpec(type="Classic"), description="What the queue should be.")
    status: TaskQueueStatus = Field(default_factory=TaskQueueStatus, description="What the queue is.")

    @property
    def queue_name(self) -> str:
        """The queue's name on the broker."""
        return self.spec.queue_name or self.metadata.name

    @property
    def dead_letter_queue_name(self) -> str:
        """Where this queue's dead letters go, `deadLetter` or not."""
        chosen = self.spec.dead_letter.queue_name if self.spec.dead_letter else None
        return chosen or f"{self.queue_name}.dead"
