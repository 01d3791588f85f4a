"""``longshore worker``: from options and environment to a running supervisor."""

from __future__ import annotations

import os
import socket
import uuid

import click

from longshore import signals
from longshore.app import Longshore
from longshore.cli.loading import load_app
from longshore.core.limits import check_limits
from longshore.exceptions import ImproperlyConfigured
from longshore.policy import DeadLetterPolicy
from longshore.worker.logs import LEVELS, configure_logging, let_app_configure_logging
from longshore.worker.options import (
    DEFAULT_DRAIN_SECONDS,
    Execution,
    WorkerOptions,
    available_cpus,
    check_queues,
    node_name,
    parse_dead_letter,
)


class DeadLetter(click.ParamType[tuple[str, DeadLetterPolicy]]):
    """``QUEUE=DEADQUEUE[:MAXDELIVERIES[:keep|drop]]``."""

    name = "QUEUE=DEAD"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, DeadLetterPolicy]:
        """Read the text."""
        try:
            return parse_dead_letter(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(context_settings={"show_default": True})
@click.argument("app")
@click.option("-Q", "--queues", help="Queues to work on, separated by commas.  [default: the app's task_default_queue]")
@click.option("-c", "--concurrency", type=click.IntRange(1, 1024),
              help="Tasks at a time.  [default: worker_concurrency, else the CPUs of the cgroup]")  # fmt: skip
@click.option("--execution", type=click.Choice(["processes", "threads", "asyncio"]), default="processes",
              help="How tasks run side by side: in forked processes, in threads, on one event loop.")  # fmt: skip
@click.option("-n", "--hostname", "--name", "name",
              help="Name for people and remote control; %h is the host, %n its first part, %d the rest.  "
              "[default: longshore@%h]")  # fmt: skip
@click.option("-l", "--log-level", "--loglevel", type=click.Choice(LEVELS, case_sensitive=False), default="info",
              help="Least severe level that is logged.")  # fmt: skip
@click.option("--log-format", type=click.Choice(["auto", "text", "json"]), default="auto",
              help="auto: text on a terminal, JSON otherwise.")  # fmt: skip
@click.option("-b", "--broker", help="Broker address.  [default: LONGSHORE_BROKER_URL, else the app's broker_url]")
@click.option("--result-backend", help="Result backend address.  [default: LONGSHORE_RESULT_BACKEND, else the app's]")
@click.option(
    "--ack-policy",
    type=click.Choice(["early", "late"]),
    default="early",
    help="When a task that says nothing itself is acknowledged: just before its start, or after its end.",
)
@click.option("--drain-timeout", type=click.FloatRange(min=0), default=DEFAULT_DRAIN_SECONDS,
              envvar="LONGSHORE_DRAIN_TIMEOUT", show_envvar=True,
              help="Seconds that running tasks get after SIGTERM, before they are killed and go back.")  # fmt: skip
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="Hard time limit of tasks that say none themselves: the process is ended.  "
              "[default: task_time_limit]")  # fmt: skip
@click.option("--soft-time-limit", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="Soft time limit: SoftTimeLimitExceeded is raised in the task.  "
              "[default: task_soft_time_limit]")  # fmt: skip
@click.option("--max-tasks-per-child", type=click.IntRange(1), metavar="N",
              help="Replace a process after so many tasks.  "
              "[default: worker_max_tasks_per_child, else never]")  # fmt: skip
@click.option("--max-memory-per-child", type=click.IntRange(1), metavar="KIB",
              help="Replace a process that has come to use more.  "
              "[default: worker_max_memory_per_child, else never]")  # fmt: skip
@click.option("--dead-letter", "dead_letters", multiple=True, type=DeadLetter(),
              help="QUEUE=DEADQUEUE[:MAXDELIVERIES[:keep|drop]]: where messages go that cannot run any more, after how "
              "many started executions, and whether failed tasks are kept there. May be repeated.  "
              "[default: QUEUE=QUEUE.dead:5:drop]")  # fmt: skip
@click.option(
    "-E",
    "--task-events",
    is_flag=True,
    help="Publish task events, for monitors such as Flower.  [default: worker_send_task_events]",
)
@click.option("--http-port", type=click.IntRange(1, 65535), envvar="LONGSHORE_HTTP_PORT", show_envvar=True,
              help="Port of /healthz, /readyz and /metrics.  [default: off]")  # fmt: skip
def worker(
    app: str,
    queues: str | None,
    concurrency: int | None,
    execution: Execution,
    name: str | None,
    log_level: str,
    log_format: str,
    broker: str | None,
    result_backend: str | None,
    ack_policy: str,
    drain_timeout: float,
    time_limit: float | None,
    soft_time_limit: float | None,
    max_tasks_per_child: int | None,
    max_memory_per_child: int | None,
    dead_letters: tuple[tuple[str, DeadLetterPolicy], ...],
    task_events: bool,
    http_port: int | None,
) -> int:
    """Run the tasks of APP (MODULE:ATTRIBUTE, such as shop.tasks:app) from its queues, in the foreground.

    SIGTERM or Ctrl-C drains: nothing more is claimed, running tasks finish, the rest goes back. A second Ctrl-C kills.
    """
    configure_logging(log_level, json_lines=None if log_format == "auto" else log_format == "json")
    loaded = load_app(app)
    _override(loaded, broker, result_backend)
    _limit(loaded, time_limit, soft_time_limit)
    loaded.finalize()
    let_app_configure_logging()
    options = WorkerOptions(
        queues=check_queues(tuple(queues.split(",")) if queues else _queues_of(loaded)),
        concurrency=concurrency or loaded.conf.worker_concurrency or available_cpus(),
        worker=f"{os.environ.get('LONGSHORE_POD_UID') or socket.gethostname()}.{uuid.uuid4().hex[:12]}",
        name=node_name(name, socket.gethostname()),
        execution=execution,
        late_by_default=ack_policy == "late",
        drain_seconds=drain_timeout,
        http_port=http_port,
        pool=os.environ.get("LONGSHORE_POOL"),
        max_tasks_per_child=max_tasks_per_child or loaded.conf.worker_max_tasks_per_child,
        max_memory_per_child=max_memory_per_child or loaded.conf.worker_max_memory_per_child,
        task_events=task_events or loaded.conf.worker_send_task_events,
        dead_letters=dict(dead_letters),
    )
    from longshore.worker.supervisor import Supervisor

    for setup in (signals.celeryd_init, signals.celeryd_after_setup):
        setup.send(options.name, instance=options, conf=loaded.conf, options=options)
    return Supervisor(loaded, options).run()


def _queues_of(app: Longshore) -> tuple[str, ...]:
    """Return the queues of a worker that was given none."""
    names: tuple[str, ...] = app.conf.task_queues
    return names or (app.conf.task_default_queue,)


def _override(app: Longshore, broker: str | None, result_backend: str | None) -> None:
    """An option wins over the environment, which wins over the code."""
    for variable, value in (("LONGSHORE_BROKER_URL", broker), ("LONGSHORE_RESULT_BACKEND", result_backend)):
        if value:
            os.environ[variable] = value
    app.require_broker()


def _limit(app: Longshore, hard: float | None, soft: float | None) -> None:
    """An option wins over the setting."""
    for name, value in (("task_time_limit", hard), ("task_soft_time_limit", soft)):
        if value:
            app.conf[name] = value
    try:
        check_limits(app.conf.task_time_limit, app.conf.task_soft_time_limit)
    except ValueError as error:
        raise ImproperlyConfigured(f"settings: {error}") from None
