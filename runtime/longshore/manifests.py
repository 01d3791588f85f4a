"""Schedules that code declares (`add_periodic_task`, `beat_schedule`) as CronSchedule manifests. Pure: values only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from longshore.exceptions import ImproperlyConfigured
from longshore.schedules import BaseSchedule, maybe_schedule

API_VERSION = "longshore.dev/v1alpha1"
LONGEST_NAME = 63
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_ENTRY_KEYS = {"task", "schedule", "args", "kwargs", "options", "relative", "enabled"}
_OPTIONS = ("queue", "priority", "expires")


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """One entry: what is sent, and when."""

    name: str
    task: str
    schedule: BaseSchedule
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def periodic_task(name: str, entry: Mapping[str, Any]) -> PeriodicTask:
    """Read an entry of Celery's `beat_schedule`; what it says and no CronSchedule can hold is an error."""
    if unknown := entry.keys() - _ENTRY_KEYS:
        raise ImproperlyConfigured(f"beat_schedule {name!r}: unknown {', '.join(sorted(unknown))}")
    if missing := {"task", "schedule"} - entry.keys():
        raise ImproperlyConfigured(f"beat_schedule {name!r} says no {' and no '.join(sorted(missing))}")
    options = entry.get("options") or {}
    if lost := options.keys() - set(_OPTIONS):
        raise ImproperlyConfigured(
            f"schedule {name!r}: option {', '.join(sorted(lost))} cannot be kept; there is {', '.join(_OPTIONS)}"
        )
    try:
        when = maybe_schedule(entry["schedule"])
    except ImproperlyConfigured as error:
        raise ImproperlyConfigured(f"schedule {name!r}: {error}") from None
    args, kwargs = tuple(entry.get("args") or ()), dict(entry.get("kwargs") or {})
    return PeriodicTask(str(name), str(entry["task"]), when, args, kwargs, options)


def entry_of(sig: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is sent, from a signature (its own arguments go last), a task, or a task's name."""
    if not isinstance(sig, Mapping):
        name = sig if isinstance(sig, str) else sig.name
        return {"task": name, "args": args, "kwargs": kwargs, "options": options}
    if sig.get("subtask_type"):
        raise ImproperlyConfigured(f"a schedule sends a task, not a {sig['subtask_type']}: send it from a task")
    own = {key: value for key, value in (sig.get("options") or {}).items() if value is not None}
    return {
        "task": sig["task"],
        "args": (*args, *sig["args"]),
        "kwargs": {**sig["kwargs"], **kwargs},
        "options": {**own, **options},
    }


def default_name(entry: Mapping[str, Any]) -> str:
    """Return the name of a schedule for which nobody gave one: its call, as in Celery."""
    arguments = [*map(repr, entry["args"]), *(f"{key}={value!r}" for key, value in entry["kwargs"].items())]
    return f"{entry['task']}({', '.join(arguments)})"


def cron_schedules(
    entries: Iterable[PeriodicTask],
    queue_for: Callable[[str], str],
    *,
    time_zone: str = "UTC",
    namespace: str | None = None,
    task_queues: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return a CronSchedule for each entry. `task_queues` maps broker queues to TaskQueues of other names."""
    manifests: dict[str, dict[str, Any]] = {}
    for entry in entries:
        manifest = _cron_schedule(entry, queue_for, time_zone, namespace, task_queues or {})
        name = manifest["metadata"]["name"]
        if name in manifests:
            raise ImproperlyConfigured(f"two schedules become the CronSchedule {name!r}; {entry.name!r} needs a name=")
        manifests[name] = manifest
    return list(manifests.values())


def _cron_schedule(
    entry: PeriodicTask,
    queue_for: Callable[[str], str],
    time_zone: str,
    namespace: str | None,
    task_queues: Mapping[str, str],
) -> dict[str, Any]:
    queue = entry.options.get("queue") or queue_for(entry.task)
    spec: dict[str, Any] = {
        **entry.schedule.spec(),
        "timeZone": time_zone,
        "task": entry.task,
        "args": list(entry.args),
        "kwargs": dict(entry.kwargs),
        "queue": _resource_name(task_queues.get(queue, queue), queue),
        "priority": entry.options.get("priority"),
        "expiresSeconds": _seconds(entry),
    }
    metadata = {"name": kubernetes_name(entry.name), "namespace": namespace}
    return {
        "apiVersion": API_VERSION,
        "kind": "CronSchedule",
        "metadata": {key: value for key, value in metadata.items() if value},
        "spec": {key: value for key, value in spec.items() if value not in (None, [], {})},
    }


def kubernetes_name(name: str) -> str:
    """Return a name that Kubernetes takes: lower case, dashes for all else."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_NAME].strip("-")
    if not slug:
        raise ImproperlyConfigured(f"schedule {name!r} has no letter or digit for a CronSchedule's name")
    return slug


def _resource_name(name: str, queue: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise ImproperlyConfigured(f"no TaskQueue can be named {name!r}; say which it is: --task-queue {queue}=NAME")
    return name


def _seconds(entry: PeriodicTask) -> int | None:
    expires = entry.options.get("expires")
    if expires is None:
        return None
    if isinstance(expires, timedelta):
        expires = expires.total_seconds()
    if not isinstance(expires, int | float) or expires < 1:
        raise ImproperlyConfigured(f"schedule {entry.name!r}: expires is seconds, 1 or more, not {expires!r}")
    return int(expires)
