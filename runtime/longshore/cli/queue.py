"""``longshore queue``: look into queues and empty them."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict

import click

from longshore.brokers.handback import HandedBack, HandsBack
from longshore.brokers.port import Broker
from longshore.cli.connecting import app_for
from longshore.cli.output import app_option, broker_option, output_option, show, show_facts
from longshore.exceptions import QueueNotFound, UnsupportedByBroker

SAMPLE = 1000
"""Messages at the front of a queue that are looked at to tell of which tasks they are."""


@click.group()
def queue() -> None:
    """Look into queues and empty them."""


@queue.command("ls")
@click.argument("names", nargs=-1, required=True)
@app_option
@broker_option
@output_option
def list_queues(names: tuple[str, ...], app: str | None, broker: str | None, output: str) -> None:
    """Show how much is in the queues NAMES: ready, leased to workers, delayed, dead."""
    client = app_for(app, broker).broker
    depths = client.depths([*names, *(f"{name}.dead" for name in names)])
    rows = []
    for name in names:
        depth, dead = depths.get(name), depths.get(f"{name}.dead")
        oldest = depth.oldest_ready_at if depth else None
        rows.append(
            {
                "queue": name,
                "exists": depth is not None,
                "ready": depth.ready if depth else None,
                "leased": depth.leased if depth else None,
                "delayed": depth.delayed if depth else None,
                "dead": dead.ready if dead else 0,
                "oldest_seconds": max(0.0, time.time() - oldest) if oldest else None,
            }
        )
    show(rows, ("queue", "exists", "ready", "leased", "delayed", "dead", "oldest_seconds"), output)


@queue.command("show")
@click.argument("name")
@app_option
@broker_option
@output_option
def show_queue(name: str, app: str | None, broker: str | None, output: str) -> None:
    """Show one queue: how much waits, for how long, who works on it, and of which tasks the next ones are."""
    client = app_for(app, broker).broker
    depths = client.depths([name, f"{name}.dead"])
    depth, dead = depths.get(name), depths.get(f"{name}.dead")
    if depth is None:
        raise QueueNotFound(f"queue {name!r} does not exist on this broker")
    workers = [report for report in client.workers() if name in report.queues]
    next_ones = client.peek(name, min(depth.ready or 0, SAMPLE)) if depth.ready else []
    tasks = Counter(str(message.headers.get("task")) for message in next_ones)
    now = time.time()
    show_facts(
        {
            "queue": name,
            "ready": depth.ready,
            "leased": depth.leased,
            "delayed": depth.delayed,
            "dead": dead.ready if dead else 0,
            "oldest_seconds": max(0.0, now - depth.oldest_ready_at) if depth.oldest_ready_at else None,
            "next_due_seconds": max(0.0, depth.next_due_at - now) if depth.next_due_at else None,
            "workers": [f"{one.name}: {one.busy} of {one.capacity} busy, {one.processed} done" for one in workers],
            "next_tasks": [f"{count} x {task}" for task, count in tasks.most_common()],
        },
        output,
    )


@queue.command()
@click.argument("name")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many messages.")
@app_option
@broker_option
@output_option
def peek(name: str, limit: int, app: str | None, broker: str | None, output: str) -> None:
    """Show the first ready messages of the queue NAME without claiming them."""
    messages = app_for(app, broker).broker.peek(name, limit)
    rows = [
        {"id": message.id, "task": message.headers.get("task"), "args": message.headers.get("argsrepr"),
         "kwargs": message.headers.get("kwargsrepr"), "retries": message.headers.get("retries")}
        for message in messages
    ]  # fmt: skip
    show(rows, ("id", "task", "args", "kwargs", "retries"), output)


@queue.command()
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@app_option
@broker_option
def purge(name: str, yes: bool, app: str | None, broker: str | None) -> None:
    """Drop every ready and delayed message of the queue NAME; what workers hold stays."""
    client = app_for(app, broker).broker
    depth = client.depths([name]).get(name)
    if depth is None:
        raise QueueNotFound(f"queue {name!r} does not exist on this broker")
    if not yes:
        click.confirm(f"Drop {depth.ready} ready and {depth.delayed or 0} delayed messages of {name}?", abort=True)
    click.echo(f"dropped: {client.purge(name)}")


@queue.command()
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--force",
    is_flag=True,
    help="Also while Longshore workers live on the queues: what they are running goes back too and runs a second time.",
)
@app_option
@broker_option
@output_option
def handback(names: tuple[str, ...], force: bool, app: str | None, broker: str | None, output: str) -> None:
    """Leave the queues NAMES to Celery alone: stop the Longshore workers, then run this.

    What workers that are gone held, and what waits for its time, goes back into the queues as Celery knows it: a
    delayed message with its eta, which a Celery worker holds until then. It waits until the leases of workers that have
    just stopped are over, some seconds at most. Doing it twice is harmless.
    """
    client = app_for(app, broker).broker
    if not client.capabilities.celery_interop:
        raise UnsupportedByBroker(
            f"Celery has no part in the queues of {client.capabilities.name}; nothing to hand back"
        )
    if force:
        _warn(client, names)
    rows = []
    for name in names:
        moved = client.handback(name, force=force) if isinstance(client, HandsBack) else HandedBack(name, 0, 0, 0)
        depth = client.depths([name]).get(name)
        rows.append({**asdict(moved), "ready": depth.ready if depth else None})
    show(rows, ("queue", "leased", "suspects", "delayed", "ready"), output)


def _warn(client: Broker, names: tuple[str, ...]) -> None:
    for worker in client.workers():
        shared = sorted(set(worker.queues) & set(names))
        if shared:
            click.echo(
                f"warning: {worker.name} lives on {', '.join(shared)}: the {worker.held} messages that it holds run a "
                "second time, and it goes on taking messages until it is stopped",
                err=True,
            )
