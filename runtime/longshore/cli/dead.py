"""``longshore dead``: see why messages died, send them again."""

from __future__ import annotations

import os
import uuid
from typing import Any

import click

from longshore.brokers.port import Broker, Outgoing, Owner, Settlement
from longshore.cli.connecting import app_for
from longshore.cli.output import app_option, broker_option, output_option, show
from longshore.core.settle import exhume
from longshore.exceptions import QueueNotFound
from longshore.message import DEAD_HEADER, Message


@click.group()
def dead() -> None:
    """See why messages died, send them again. `longshore queue purge` drops them."""


@dead.command("ls")
@click.argument("queue")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many letters.")
@app_option
@broker_option
@output_option
def list_letters(queue: str, limit: int, app: str | None, broker: str | None, output: str) -> None:
    """List dead letters in QUEUE (such as orders.dead) with their reasons."""
    rows = [_row(message) for message in app_for(app, broker).broker.peek(queue, limit)]
    show(rows, ("id", "task", "reason", "message", "at"), output)


def _row(message: Message) -> dict[str, Any]:
    letter = message.headers.get(DEAD_HEADER) or {}
    return {"id": message.id, "task": message.headers.get("task"), **letter}


@dead.command()
@click.argument("queue")
@click.option("--to", help="Queue to send them to.  [default: the one that each came from]")
@app_option
@broker_option
def replay(queue: str, to: str | None, app: str | None, broker: str | None) -> None:
    """Send every dead letter of QUEUE to its queue again, as it was; a crash in between makes at worst a duplicate."""
    client = app_for(app, broker).broker
    depth = client.depths([queue]).get(queue)
    if depth is None:
        raise QueueNotFound(f"queue {queue!r} does not exist on this broker, or is empty")
    count = _replay(client, queue, to, depth.ready or 0)
    click.echo(f"replayed: {count}")


def _replay(client: Broker, queue: str, to: str | None, limit: int) -> int:
    consumer = client.consumer(Owner(f"replay.{os.getpid()}.{uuid.uuid4().hex[:8]}", 0), [queue])
    count = 0
    try:
        while count < limit and (claims := consumer.claim(min(100, limit - count), 1.0)):
            for claim in claims:
                letter = claim.message.headers.get(DEAD_HEADER) or {}
                target = to or letter.get("queue") or queue.removesuffix(".dead")
                consumer.settle(Settlement(claim, (Outgoing(target, exhume(claim.message)),)))
            count += len(claims)
            consumer.flush()
    finally:
        consumer.close()
    return count
