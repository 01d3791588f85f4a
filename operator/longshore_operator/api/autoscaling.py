"""How a WorkerPool follows its queues: bounds, target, and the pace, in the shape of HorizontalPodAutoscaler v2."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from longshore_operator.api.base import SpecModel, unseen_default
from longshore_operator.api.rules import Rule

TargetType = Literal["Wait", "Backlog"]
SelectPolicy = Literal["Max", "Min", "Disabled"]


class ScalingPolicy(SpecModel):
    """A limit to the pace: at most `value` pods, or percent of the pods, in `periodSeconds`."""

    type: Literal["Pods", "Percent"] = Field(description="What `value` counts.")
    value: int = Field(ge=1, le=10_000, description="The change that is allowed in a period.")
    period_seconds: int = Field(ge=1, le=1800, description="Length of the period in seconds.")


class ScalingRules(SpecModel):
    """The pace in one direction."""

    stabilization_window_seconds: int | None = Field(
        default=None,
        ge=0,
        le=3600,
        description="Seconds to look back; the mildest recommendation of that time wins. Default: 0 for "
        "scaleUp, 60 for scaleDown.",
    )
    select_policy: SelectPolicy = Field(
        default="Max",
        description="Which policy counts when there are several: the one that allows most (Max) or least "
        "(Min). Disabled: never in this direction.",
    )
    policies: list[ScalingPolicy] = Field(
        default_factory=list,
        max_length=10,
        description="Limits to the pace. Default: none; the pool takes its new size in one step.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class Behavior(SpecModel):
    """The pace of scaling, in the shape of HorizontalPodAutoscaler v2."""

    scale_up: ScalingRules = Field(default=ScalingRules(), description="The pace of growing.")
    scale_down: ScalingRules = Field(default=ScalingRules(), description="The pace of shrinking.")

    @property
    def scale_up_window(self) -> int:
        """Seconds; 0 where the manifest does not say."""
        return self.scale_up.stabilization_window_seconds or 0

    @property
    def scale_down_window(self) -> int:
        """Seconds; 60 where the manifest does not say."""
        window = self.scale_down.stabilization_window_seconds
        return 60 if window is None else window


class Target(SpecModel):
    """What the autoscaler keeps to."""

    rules = (
        Rule(
            "is required when type is Wait",
            holds=lambda target: target.type != "Wait" or target.wait_seconds is not None,
            cel="self.type != 'Wait' || has(self.waitSeconds)",
            field="waitSeconds",
            reason="FieldValueRequired",
        ),
        Rule(
            "belongs to type Wait: leave it out, or set type: Wait",
            holds=lambda target: target.type == "Wait" or target.wait_seconds is None,
            cel="self.type == 'Wait' || !has(self.waitSeconds)",
            field="waitSeconds",
            reason="FieldValueForbidden",
        ),
        Rule(
            "is required when type is Backlog",
            holds=lambda target: target.type != "Backlog" or target.backlog_per_replica is not None,
            cel="self.type != 'Backlog' || has(self.backlogPerReplica)",
            field="backlogPerReplica",
            reason="FieldValueRequired",
        ),
        Rule(
            "belongs to type Backlog: leave it out, or set type: Backlog",
            holds=lambda target: target.type == "Backlog" or target.backlog_per_replica is None,
            cel="self.type == 'Backlog' || !has(self.backlogPerReplica)",
            field="backlogPerReplica",
            reason="FieldValueForbidden",
        ),
    )

    type: TargetType = Field(
        description="Wait: as many pods as it takes that a message waits no longer than waitSeconds, by the "
        "measured time of the tasks. Backlog: one pod for each backlogPerReplica messages."
    )
    wait_seconds: int | None = Field(
        default=None, ge=1, le=86_400, description="Seconds that a message may wait. With type Wait only."
    )
    backlog_per_replica: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Messages, those being worked on included, that one pod is for. With type Backlog only.",
    )


class Autoscaling(SpecModel):
    """Bounds, target and pace of the autoscaler."""

    rules = (
        Rule(
            "must be at least minReplicas",
            holds=lambda scaling: scaling.min_replicas <= scaling.max_replicas,
            cel="self.minReplicas <= self.maxReplicas",
            field="maxReplicas",
        ),
    )

    min_replicas: int = Field(default=0, ge=0, le=10_000, description="Fewest pods; 0 lets an idle pool go to zero.")
    max_replicas: int = Field(ge=1, le=10_000, description="Most pods.")
    target: Target = Field(
        default=Target(type="Wait", wait_seconds=10),
        description="What the autoscaler keeps to. Default: no message waits longer than 10 seconds.",
        json_schema_extra=unseen_default,
    )
    behavior: Behavior = Field(default=Behavior(), description="The pace of growing and shrinking.")
    scale_to_zero_after_seconds: int = Field(
        default=60,
        ge=0,
        le=86_400,
        description="Seconds that the queues must have been empty, and every worker idle, before the last pod "
        "goes. Only with minReplicas 0.",
    )
    suspend: bool = Field(default=False, description="Pause the autoscaler: the pool keeps the size that it has.")
