"""Resources and reports for tests, complete but for what a test is about."""

from __future__ import annotations

from typing import Any

from longshore.brokers.port import WorkerReport
from longshore_operator.api.cronschedule import CronSchedule
from longshore_operator.api.manifests import parse
from longshore_operator.api.taskqueue import TaskQueue
from longshore_operator.api.workerpool import WorkerPool

NOW = 1_795_000_000.0


def manifest(kind: str, name: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "generation": 3, **more.pop("metadata", {})}
    return {"apiVersion": "longshore.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec, **more}


def task_queue(name: str = "orders", **spec: Any) -> TaskQueue:
    more = {key: spec.pop(key) for key in ("status", "metadata") if key in spec}
    found = parse(manifest("TaskQueue", name, spec, **more))
    assert isinstance(found, TaskQueue)
    return found


def worker_pool(name: str = "web", **spec: Any) -> WorkerPool:
    more = {key: spec.pop(key) for key in ("status", "metadata") if key in spec}
    full = {"app": "shop.tasks:app", "queues": [{"name": "orders"}], "image": "shop:1", **spec}
    found = parse(
        manifest("WorkerPool", name, {key: value for key, value in full.items() if value is not None}, **more)
    )
    assert isinstance(found, WorkerPool)
    return found


def cron_schedule(name: str = "report", **spec: Any) -> CronSchedule:
    more = {key: spec.pop(key) for key in ("status", "metadata") if key in spec}
    full = {"task": "shop.report", "queue": "orders", **({} if "cron" in spec else {"everySeconds": 60}), **spec}
    found = parse(
        manifest("CronSchedule", name, {key: value for key, value in full.items() if value is not None}, **more)
    )
    assert isinstance(found, CronSchedule)
    return found


def report(worker: str = "uid-a.1", **more: Any) -> WorkerReport:
    values: dict[str, Any] = {
        "name": "w",
        "pool": "shop/web",
        "queues": ("orders",),
        "capacity": 4,
        "busy": 0,
        "held": 0,
        "processed": 0,
        "draining": False,
        "tasks": ("shop.report",),
        "task_count": 1,
        "pid": 1,
        "host": "h",
        "started_at": NOW - 100,
        "at": NOW,
    }
    return WorkerReport(worker=worker, **{**values, **more})
