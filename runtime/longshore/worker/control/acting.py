"""Commands that change something: the number of processes, the queues, the events, the end.

Changes hold for this worker's life; nothing of it is written down.
"""

from __future__ import annotations

import logging
from typing import Any

from longshore.brokers.port import QueueSpec
from longshore.core.limits import check_limits
from longshore.worker.control.panel import command, ok, refused
from longshore.worker.control.site import Site

logger = logging.getLogger("longshore.worker")


@command()
def shutdown(site: Site, msg: str = "shutdown asked for by remote control", **_: Any) -> Any:
    """Drain and end."""
    logger.warning("%s", msg)
    site.crew.shut_down()
    return ok("the worker drains and ends")


# -- tasks -----------------------------------------------------------------------------------------------------------


@command()
def rate_limit(site: Site, task_name: str, rate_limit: str | float | None = None, **_: Any) -> Any:
    """Set how often a task may run."""
    if task_name not in site.app.tasks:
        return refused(f"unknown task {task_name!r}")
    if rate_limit:
        site.app.require_store(f"task {task_name} is to have a rate limit")
    site.rates.change(task_name, rate_limit)
    logger.info("rate limit of %s is now %s", task_name, rate_limit or "off")
    return ok("new rate limit set successfully" if rate_limit else "rate limit disabled successfully")


@command()
def time_limit(site: Site, task_name: str, hard: float | None = None, soft: float | None = None, **_: Any) -> Any:
    """Set how long a task may run; what runs keeps the limits that it began with."""
    task = site.app.tasks.get(task_name)
    if task is None:
        return refused(f"unknown task {task_name!r}")
    try:
        check_limits(hard, soft)
    except ValueError as error:
        return refused(str(error))

    def change() -> None:
        task.time_limit, task.soft_time_limit = hard or 0, soft or 0

    site.crew.change(change)
    logger.info("time limits of %s are now: soft %s, hard %s", task_name, soft or "none", hard or "none")
    return ok("time limits set successfully")


# -- processes -------------------------------------------------------------------------------------------------------


@command()
def pool_grow(site: Site, n: int = 1, **_: Any) -> Any:
    """Run more tasks at a time."""
    site.crew.grow(_positive(n))
    return ok("pool will grow")


@command()
def pool_shrink(site: Site, n: int = 1, **_: Any) -> Any:
    """Run fewer tasks at a time, once running ones have ended."""
    site.crew.shrink(_positive(n))
    return ok("pool will shrink")


def _positive(number: Any) -> int:
    if int(number) < 1:
        raise TypeError(f"n={number} is not 1 or more")
    return int(number)


@command()
def pool_restart(site: Site, **_: Any) -> Any:  # noqa: ARG001 - every command has a site
    """Not here: a process cannot take in changed code safely."""
    return refused("pool restarts are not there: start a new worker and shut this one down")


@command()
def autoscale(site: Site, **_: Any) -> Any:  # noqa: ARG001 - every command has a site
    """Not here: a WorkerPool is scaled."""
    return refused("autoscale is not there: use pool_grow and pool_shrink, or a WorkerPool's autoscaling")


# -- queues ----------------------------------------------------------------------------------------------------------


@command()
def add_consumer(
    site: Site,
    queue: str,
    exchange: str | None = None,
    exchange_type: str | None = None,
    routing_key: str | None = None,
    **_: Any,
) -> Any:
    """Claim from one more queue."""
    if (exchange or queue) != queue or (routing_key or queue) != queue or exchange_type not in {None, "", "direct"}:
        return refused(f"queue {queue!r}: only the default exchange is worked on, whose routing key is the queue")
    options = site.crew.options
    if queue in options.queues:
        return ok(f"already consuming from {queue}")
    site.app.broker.declare([QueueSpec(queue)])
    site.crew.work_on((*options.queues, queue))
    return ok(f"add consumer {queue}")


@command()
def cancel_consumer(site: Site, queue: str, **_: Any) -> Any:
    """Claim no more from a queue; what is claimed is worked off."""
    queues = site.crew.options.queues
    if queue not in queues:
        return refused(f"this worker does not consume from {queue}")
    if len(queues) == 1:
        return refused(f"{queue} is this worker's only queue: shut it down instead")
    site.crew.work_on(tuple(other for other in queues if other != queue))
    return ok(f"no longer consuming from {queue}")


# -- events ----------------------------------------------------------------------------------------------------------


@command()
def enable_events(site: Site) -> Any:
    """Publish task events from now on."""
    if site.board.events_wanted:
        return ok("task events already enabled")
    site.board.events_wanted = True
    return ok("task events enabled")


@command()
def disable_events(site: Site) -> Any:
    """Publish no more task events."""
    if not site.board.events_wanted:
        return ok("task events already disabled")
    site.board.events_wanted = False
    return ok("task events disabled")


@command()
def heartbeat(site: Site) -> Any:
    """Tell at once that this worker lives."""
    site.beat()
    return ok("heartbeat sent")


@command()
def election(site: Site, **_: Any) -> Any:  # noqa: ARG001 - every command has a site
    """Not here."""
    return refused("elections are not there: workers of Longshore do not know each other")
