"""The references that are tables of values: settings, what brokers can do, metrics."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from docs.tools.markdown import page, table


def settings_page() -> str:
    """Return the page of settings."""
    from longshore.settings import SETTINGS

    rows = [(f"`{name}`", f"`{_shown(default)}`", meaning) for name, (default, _, meaning) in sorted(SETTINGS.items())]
    introduction = """\
Settings are Celery's, in lower case, where they mean the same. They are given to the app
(`Longshore("shop", task_acks_late=True)`), assigned (`app.conf.task_acks_late = True`), or read from a module
(`app.config_from_object("shop.settings")`; with `namespace="CELERY"` the names that begin with `CELERY_`).

An unknown name and a wrong value are errors when they are set, not later. The [environment](environment.md) wins over
the code: the same code runs on a laptop and in a pod. Durations are seconds, or a `timedelta`."""
    return page("Settings", introduction, table(("setting", "default", "meaning"), rows))


def celery_settings_page() -> str:
    """Return the page of what becomes of Celery's other settings."""
    from longshore.celery_settings import ACCEPTED, REFUSED, REFUSED_PREFIXES

    introduction = """\
Every setting of Celery 5.7 is one of three: it means the same here ([settings](settings.md)), it is accepted because
its purpose holds without it, or it is refused, with the reason, when it is set: code that was written for it would do
something else."""
    refused = [*sorted(REFUSED.items()), *((f"{prefix}…", reason) for prefix, reason in REFUSED_PREFIXES.items())]
    return page(
        "Celery's settings",
        introduction,
        "## Accepted, without an effect",
        table(("setting", "why none is needed"), _named(sorted(ACCEPTED.items()))),
        "## Refused",
        table(("setting", "what to use"), _named(refused)),
    )


def _named(rows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(f"`{name}`", reason) for name, reason in rows]


def _shown(default: Any) -> str:
    if isinstance(default, tuple | dict | list) and not default:
        return "empty"
    return f"{default:g}" if isinstance(default, float) else str(default)


_QUESTIONS: Mapping[str, str] = {
    "delayed": "ETA, countdown and retries wait in the broker",
    "priorities": "priorities 0 to 9, 9 first",
    "atomic_settle": "a settlement and what it sends (a retry, a dead letter) are one transaction",
    "counts_leased": "tells how many messages workers hold",
    "counts_delayed": "tells how many messages wait for their time",
    "fenced": "refuses the settlement of a claim that another worker has by now",
    "takeover_seconds": "seconds until the claims of a worker that fell silent are back, at most",
    "gil_seconds": "seconds that a task may hold the interpreter's lock (GIL) and keep its claims",
    "multi_host": "workers on several hosts",
    "celery_interop": "Celery's clients and workers share the queues",
    "returns_claims": "gives a dead process's claims back by itself, the moment its connection closes",
}
_NOTES = """\
Where a broker says no, what was promised is kept by other means, or asking for it is an error; it is never silently
left out:

- Without one transaction for a settlement and its sends, the sends are confirmed first and the claim is removed
  afterwards: a death in between makes a duplicate, never a loss.
- Where a broker cannot count what workers hold, the workers' own reports stand in for it.
- What a broker cannot tell is shown as unknown (`-`, `?`, an absent field), never as 0.
- RabbitMQ alone has no store: a tick of a CronSchedule that is published twice (by a leader that died between two
  steps) runs twice there, unless `LONGSHORE_STORE_URL` names a Redis.

On RabbitMQ the process that runs a task tells the server itself that it lives. While a task holds the interpreter's
lock, in C code that does not let go of it, no other thread of its process does anything: beyond two heartbeats of 3
seconds (`?heartbeat=` in the address) the server gives its claims to others, and the task runs twice.

The takeover time is for a machine or pod that vanishes without closing its connections. Of a child process that dies
while its worker lives, the claims are back at once, on every broker."""


def brokers_page() -> str:
    """Return the page of what each broker can do."""
    found = _capabilities()
    assert set(_QUESTIONS) == set(next(iter(found.values()))) - {"name"}, "a capability has no row here"
    rows = [
        (question, *(_answer(capabilities[name]) for capabilities in found.values()))
        for name, question in _QUESTIONS.items()
    ]
    introduction = """\
The scheme of the address chooses the broker: `sqlite:///FILE`, `redis://` and `rediss://` (and `valkey://`,
`sentinel://`, `redis+socket://`), `redis+cluster://`, `amqp://` and `amqps://`.
One suite of tests (`tests/brokers/contract.py`) runs on all of them. How to choose: [brokers](../how-to/brokers.md).
Options of the addresses, and what is kept where: [SQLite](sqlite.md), [Redis](redis.md),
[RabbitMQ](rabbitmq.md)."""
    return page("What each broker can do", introduction, table(("", *(f"**{name}**" for name in found)), rows), _NOTES)


def _capabilities() -> dict[str, dict[str, Any]]:
    from longshore.brokers import open_broker

    opened = {
        "SQLite": open_broker("sqlite:///unused.db"),
        "Redis": open_broker("redis://localhost/0"),
        "Redis Cluster": open_broker("redis+cluster://localhost/0"),
        "RabbitMQ": open_broker("amqp://localhost//"),
    }
    return {name: asdict(broker.capabilities) for name, broker in opened.items()}


def _answer(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value == math.inf:
        return "any"
    return f"{value:g}" if isinstance(value, float) else str(value)


def metrics_page() -> str:
    """Return the page of metrics and probes."""
    rows = [(f"`{name}`", kind, meaning) for name, kind, meaning in worker_metrics()]
    introduction = """\
A worker serves `/healthz`, `/readyz` and `/metrics` where it has an HTTP port: 8080 in the pods of a WorkerPool;
elsewhere where `--http-port` or `LONGSHORE_HTTP_PORT` says one. The supervisor answers: neither the broker nor a task
that holds the GIL of a worker process delays it.

| path | 200 | 503 |
| --- | --- | --- |
| `/healthz` | the supervisor lives | |
| `/readyz` | at least one process claims | none does yet, or the worker drains |
| `/metrics` | Prometheus text | |"""
    operator = """\
The operator serves the same three paths on port 8080 (`httpPort` in the chart's values). Its `/readyz` says whether its
caches are filled; its metrics are `longshore_operator_leader`, `longshore_operator_lease_renewals_total`,
`longshore_operator_reconciles_total`, `longshore_operator_reconcile_failures_total`,
`longshore_operator_queue_length` and `longshore_operator_api_requests_total` by method.

A rate of `longshore_task_overhead_seconds_total` above that of
`longshore_task_run_seconds_total` says that a task is too small for the messages that carry it: send more in one
(`chunks`). There are no histograms yet, and how long a message waited is not measured by task."""
    workers = "## Of a worker\n\n" + table(("metric", "type", "meaning"), rows)
    return page("Metrics and probes", introduction, workers, f"## Of the operator\n\n{operator}")


def worker_metrics() -> list[tuple[str, str, str]]:
    """Ask a worker's own server for its metrics: name, type, meaning."""
    from longshore.worker.board import Board
    from longshore.worker.health import HealthServer

    class _Idle:
        draining = False

    class _NoSocket(HealthServer):
        def __init__(self) -> None:
            self._board, self._keeper = Board(1), _Idle()  # type: ignore[assignment]

    text = _NoSocket().answer("/metrics")[1].decode()
    kinds = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
    return [(name, kinds[name], meaning) for name, meaning in re.findall(r"# HELP (\S+) (.+)", text)]
