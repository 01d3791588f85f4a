"""Commands that look: what runs, what waits, what the worker is. They change nothing."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from longshore import __version__
from longshore.brokers.control import Waiting
from longshore.brokers.schemes import CLUSTERS, SECURE, SENTINELS
from longshore.exceptions import one_url, redact_url
from longshore.message import Message
from longshore.worker.control.panel import command, ok
from longshore.worker.control.site import Site, delivery_info, task_info

CELERY_VERSION = "5.7"
"""Whose commands, events and messages these are."""
SCHEDULED_LIMIT = 1000
_SECRET = re.compile(r"API|TOKEN|KEY|SECRET|PASS|SIGNATURE|DATABASE", re.IGNORECASE)
_REGISTERED = ("exchange", "routing_key", "rate_limit")


@command()
def ping(site: Site) -> Any:  # noqa: ARG001 - every command has a site
    """Answer."""
    return ok("pong")


# -- tasks -----------------------------------------------------------------------------------------------------------


@command(also="dump_active")
def active(site: Site, **_: Any) -> Any:
    """List the tasks that run; arguments as their senders show them."""
    return list(site.running().values())


@command(also="dump_reserved")
def reserved(site: Site, **_: Any) -> Any:
    """List what is claimed and has not started. RabbitMQ does not tell: there it is empty."""
    running = site.running()
    return [_info(site, queue, message) for queue, message in _held(site) if message.id not in running]


@command(also="dump_schedule")
def scheduled(site: Site, **_: Any) -> Any:
    """List what is delayed in this worker's queues, the next due first."""
    return [_scheduled(site, each) for each in _waiting(site)]


@command()
def query_task(site: Site, ids: str | Sequence[str], **_: Any) -> Any:
    """Return state and facts of those of these tasks that this worker knows of."""
    wanted = [ids] if isinstance(ids, str) else list(ids)
    running = site.running()
    known = {task: ["active", running[task]] for task in wanted if task in running}
    if missing := set(wanted) - known.keys():
        held = {message.id: ["reserved", _info(site, queue, message)] for queue, message in _held(site)}
        later = {each.message.id: ["scheduled", _info(site, each.queue, each.message)] for each in _waiting(site)}
        known |= {task: (held | later)[task] for task in wanted if task in missing & (held.keys() | later.keys())}
    return known


def _held(site: Site) -> list[tuple[str, Message]]:
    options = site.crew.options
    return site.line.held(options.worker, options.queues) or []


def _waiting(site: Site) -> list[Waiting]:
    """While every slot is busy nobody moves delayed messages out of the queues themselves."""
    is_full = all(slot.busy for slot in site.slots() if slot.ready)
    return site.line.delayed(site.crew.options.queues, SCHEDULED_LIMIT, behind=is_full)


def _scheduled(site: Site, waiting: Waiting) -> dict[str, Any]:
    eta = datetime.fromtimestamp(waiting.due_at, UTC).isoformat()
    return {"eta": eta, "priority": 6, "request": _info(site, waiting.queue, waiting.message)}


def _info(site: Site, queue: str, message: Message) -> dict[str, Any]:
    headers = message.headers
    priority = message.properties.get("priority")
    return task_info(
        site.name,
        message.id,
        name=headers.get("task"),
        args=headers.get("argsrepr"),
        kwargs=headers.get("kwargsrepr"),
        delivery_info=delivery_info(queue, priority, redelivered=False),
    )


@command(also="dump_tasks")
def registered(site: Site, taskinfoitems: Iterable[str] | None = None, builtins: bool = False, **_: Any) -> Any:
    """List the tasks of the app, with these of their attributes."""
    items = [str(item) for item in taskinfoitems or _REGISTERED if not str(item).startswith("_")]
    names = sorted(name for name in site.app.tasks if builtins or not name.startswith("celery."))
    return [_registered(site, name, items) for name in names]


def _registered(site: Site, name: str, items: Iterable[str]) -> str:
    """What a task does not say itself, the app's settings say."""
    task, settings = site.app.tasks[name], site.app.conf
    defaults = {item: settings[setting] for item in items if (setting := f"task_{item}") in set(settings)}
    own = [(item, getattr(task, item, None)) for item in items]
    found = [(item, defaults.get(item) if value is None else value) for item, value in own]
    shown = " ".join(f"{item}={value}" for item, value in found if value is not None)
    return f"{name} [{shown}]" if shown else name


# -- the worker ------------------------------------------------------------------------------------------------------


@command()
def active_queues(site: Site) -> Any:
    """List the queues that this worker claims from, as kombu describes a queue."""
    return [_queue(name) for name in site.crew.options.queues]


def _queue(name: str) -> dict[str, Any]:
    nothing: dict[str, Any] = dict.fromkeys(
        ("queue_arguments", "binding_arguments", "consumer_arguments", "alias", "no_declare", "expires",
         "message_ttl", "max_length", "max_length_bytes", "max_priority")
    )  # fmt: skip
    exchange = {"name": name, "type": "direct", "arguments": None, "durable": True, "passive": False,
                "auto_delete": False, "delivery_mode": None, "no_declare": False}  # fmt: skip
    return nothing | {
        "name": name,
        "exchange": exchange,
        "routing_key": name,
        "durable": True,
        "exclusive": False,
        "auto_delete": False,
        "no_ack": False,
        "bindings": [],
    }


@command()
def clock(site: Site, **_: Any) -> Any:
    """Return the logical clock."""
    return {"clock": site.board.tick()}


@command()
def stats(site: Site, **_: Any) -> Any:
    """Return what the worker is and has done."""
    options = site.crew.options
    slots = site.slots()
    return {
        "software": f"longshore:{__version__}",
        "broker": _broker(site.app.conf.broker_url),
        "clock": str(site.board.tick()),
        "uptime": int(time.time() - site.started_at),
        "pid": os.getpid(),
        "pool": {
            "implementation": f"longshore:{options.execution}",
            "max-concurrency": site.board.capacity,
            "processes": sorted(set(site.crew.pids().values())),
            "max-tasks-per-child": "N/A",
            "timeouts": [0, 0],
        },
        "prefetch_count": sum(slot.held for slot in slots),
        "rusage": _usage(),
        "total": _totals(site),
        "processed": sum(slot.processed for slot in slots),
        "failed": sum(slot.failed for slot in slots),
    }


def _totals(site: Site) -> dict[str, int]:
    """Return the runs by task, where they are counted."""
    tallies = site.board.tallies
    return {total.task: sum(total.runs) for total in tallies.totals(site.board.slots)} if tallies is not None else {}


def _broker(url: str) -> dict[str, Any]:
    parts = urlsplit(one_url(url))
    several = parts.scheme in SENTINELS | CLUSTERS
    hosts = ";".join(part.rpartition("@")[2] for part in re.split("[;,]", parts.netloc))
    return {
        "transport": parts.scheme,
        "hostname": hosts if several else parts.hostname or "",
        "port": None if several else parts.port,
        "userid": parts.username,
        "virtual_host": parts.path.removeprefix("/") or "/",
        "ssl": parts.scheme in SECURE | {"amqps"},
    }


def _usage() -> dict[str, float]:
    """Return what the kernel counted: of the supervisor, the only process that is sure to answer."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {name.removeprefix("ru_"): getattr(usage, name) for name in dir(usage) if name.startswith("ru_")}


@command(also="dump_conf")
def conf(site: Site, with_defaults: Any = False, **_: Any) -> Any:
    """Return the settings that somebody made, or all; secrets are hidden."""
    settings = site.app.conf
    shown = [name for name in settings if _is_true(with_defaults) or settings.is_set(name)]
    return {name: _shown(name, settings[name]) for name in shown}


def _is_true(value: Any) -> bool:
    """The command line of Celery sends text."""
    return value.lower() in {"1", "true", "yes", "on"} if isinstance(value, str) else bool(value)


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _shown(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown("", inner) for inner in value]
    if _SECRET.search(name):
        return "********"
    if isinstance(value, str):
        return redact_url(value) if "://" in value else value
    return value if isinstance(value, bool | int | float | None) else repr(value)


@command()
def report(site: Site) -> Any:
    """Describe the installation, for whoever looks into a problem."""
    settings, transport = conf(site), urlsplit(site.app.conf.broker_url).scheme
    lines = [
        f"software -> celery:{CELERY_VERSION} (longshore:{__version__}) py:{platform.python_version()}",
        f"platform -> system:{platform.system()} arch:{platform.machine()} imp:{sys.implementation.name}",
        f"            kernel version:{platform.release()}",
        f"settings -> transport:{transport} results:{redact_url(site.app.conf.result_backend or 'disabled')}",
        "",
        *(f"{name}: {value!r}" for name, value in sorted(settings.items())),
    ]
    return ok("\n".join(lines))
