"""``longshore task``: look at one task, and stop tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from longshore.app import Longshore
from longshore.cli.connecting import app_for
from longshore.cli.inspect import destination_option, timeout_option
from longshore.cli.output import app_option, broker_option, output_option, show
from longshore.exceptions import LongshoreError


@click.group()
def task() -> None:
    """Look at one task, and stop tasks."""


@task.command("show")
@click.argument("task_id", metavar="ID")
@timeout_option
@app_option
@broker_option
@output_option
def show_task(task_id: str, timeout: float, app: str | None, broker: str | None, output: str) -> None:
    """Show where the task ID is: its stored state, and what the workers know of it."""
    client = app_for(app, broker)
    found = {"id": task_id, **_stored(client, task_id), **_known(client, task_id, timeout)}
    if len(found) == 1:
        raise LongshoreError(
            f"task {task_id}: no worker knows it, and no result is stored; perhaps it waits in a queue"
        )
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False, default=str))
    else:
        show([{"name": name, "value": value} for name, value in found.items()], ("name", "value"), output)


def _stored(client: Longshore, task_id: str) -> dict[str, Any]:
    """Return what the result backend has, if there is one."""
    if not client.has_backend:
        return {}
    [meta] = client.backend.fetch([task_id])
    if meta is None:
        return {}
    facts = {"state": meta.status, "result": meta.result, "done": meta.date_done, "traceback": meta.traceback}
    return {name: value for name, value in facts.items() if value is not None}


def _known(client: Longshore, task_id: str, timeout: float) -> dict[str, Any]:
    answers = client.control.inspect(timeout=timeout).query_task(task_id) or {}
    for worker, answer in answers.items():
        if isinstance(answer, Mapping) and task_id in answer:
            where, info = answer[task_id]
            shown = ("name", "args", "kwargs", "time_start", "acknowledged", "worker_pid")
            return {"worker": worker, "where": where, **{name: info.get(name) for name in shown}}
    return {}


@task.command()
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--terminate", is_flag=True, help="End it where it runs, with its process.")
@click.option("--signal", default="SIGTERM", show_default=True, help="What receivers of task_revoked are told.")
@destination_option
@timeout_option
@app_option
@broker_option
@output_option
def revoke(
    task_ids: tuple[str, ...],
    terminate: bool,
    signal: str,
    destination: str | None,
    timeout: float,
    app: str | None,
    broker: str | None,
    output: str,
) -> None:
    """Tell the workers not to run the tasks ID; with --terminate, to end them where they run."""
    names = [name.strip() for name in destination.split(",")] if destination else None
    control = app_for(app, broker).control
    replies = control.revoke(task_ids, names, terminate, signal, reply=True, timeout=timeout) or []
    if not replies:
        raise LongshoreError(f"nobody answered within {timeout:g} s; is there a worker on this broker?")
    rows = [
        {"worker": worker, "answer": answer.get("ok") or answer.get("error")}
        for reply in replies
        for worker, answer in reply.items()
    ]
    show(rows, ("worker", "answer"), output)
