"""The three resources as models, and the CRDs made from them."""

from longshore_operator.api.address import Address, SecretKeyRef, UrlFrom
from longshore_operator.api.autoscaling import Autoscaling, Behavior, ScalingPolicy, ScalingRules, Target
from longshore_operator.api.base import API_VERSION, GROUP, VERSION, Condition, ObjectMeta, OwnerReference, Resource
from longshore_operator.api.conditions import ConditionType, Reason, get_condition, is_true, set_condition
from longshore_operator.api.cronschedule import CronSchedule, CronScheduleSpec, CronScheduleStatus, Solar
from longshore_operator.api.manifests import KINDS, AnyResource, InvalidManifest, check_change, is_ours, parse
from longshore_operator.api.problems import Problem
from longshore_operator.api.taskqueue import DEFAULT_BROKER, DeadLetter, TaskQueue, TaskQueueSpec, TaskQueueStatus
from longshore_operator.api.workerpool import (
    MAX_POOL_NAME,
    POOL_LABEL,
    WORKER_CONTAINER,
    Decision,
    QueueRef,
    WorkerPool,
    WorkerPoolSpec,
    WorkerPoolStatus,
)

__all__ = [
    "API_VERSION",
    "DEFAULT_BROKER",
    "GROUP",
    "KINDS",
    "MAX_POOL_NAME",
    "POOL_LABEL",
    "VERSION",
    "WORKER_CONTAINER",
    "Address",
    "AnyResource",
    "Autoscaling",
    "Behavior",
    "Condition",
    "ConditionType",
    "CronSchedule",
    "CronScheduleSpec",
    "CronScheduleStatus",
    "DeadLetter",
    "Decision",
    "InvalidManifest",
    "ObjectMeta",
    "OwnerReference",
    "Problem",
    "QueueRef",
    "Reason",
    "Resource",
    "ScalingPolicy",
    "ScalingRules",
    "SecretKeyRef",
    "Solar",
    "Target",
    "TaskQueue",
    "TaskQueueSpec",
    "TaskQueueStatus",
    "UrlFrom",
    "WorkerPool",
    "WorkerPoolSpec",
    "WorkerPoolStatus",
    "check_change",
    "get_condition",
    "is_ours",
    "is_true",
    "parse",
    "set_condition",
]
