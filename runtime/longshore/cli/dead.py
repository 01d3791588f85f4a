"""``longshore dead``: see why messages died, send them again, or drop them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from longshore.brokers.port import Outgoing
from longshore.cli.connecting import app_for
from longshore.cli.letters import chosen, ready_letters, settle_letters
from longshore.cli.output import app_option, broker_option, output_option, show
from longshore.core.letters import Selection, epitaph, home_of
from longshore.core.settle import exhume
from longshore.encoding import CONTENT_TYPES, decoded
from longshore.exceptions import MessageError, QueueNotFound
from longshore.message import DEAD_HEADER, Message

COLUMNS = ("id", "task", "reason", "message", "at")
F = TypeVar("F", bound=Callable[..., Any])


class Moment(click.ParamType[datetime]):
    """A time in ISO 8601, in UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-21T10:00", param, ctx)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def selecting(command: F) -> F:
    """Give a command the options that say which letters are meant."""
    for option in (
        click.option("--before", type=Moment(), help="Only what died before this time."),
        click.option("--after", type=Moment(), help="Only what died at this time or later."),
        click.option("--reason", help="Only with this reason, such as TaskFailed."),
        click.option("--task", help="Only of this task, or of those that a pattern names, such as 'shop.*'."),
        click.option("--id", "ids", multiple=True, help="Only the task of this id. May be repeated."),
    ):
        command = option(command)
    return command


def _selection(options: dict[str, Any]) -> Selection:
    return Selection(frozenset(options.pop("ids")), **options)


@click.group()
def dead() -> None:
    """See why messages died, send them again, or drop them."""


@dead.command("ls")
@click.argument("queue")
@selecting
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many letters.")
@app_option
@broker_option
@output_option
def list_letters(queue: str, limit: int, app: str | None, broker: str | None, output: str, **options: Any) -> None:
    """List dead letters in QUEUE (such as orders.dead) with their reasons."""
    selection = _selection(options)
    client = app_for(app, broker).broker
    found = client.peek(queue, limit) if selection.is_everything else chosen(client, queue, selection)
    show([_row(message) for message in found[:limit]], COLUMNS, output)


def _row(message: Message) -> dict[str, Any]:
    return {"id": message.id, "task": message.headers.get("task"), **epitaph(message)}


@dead.command("show")
@click.argument("queue")
@click.argument("task_id")
@app_option
@broker_option
@output_option
def show_letter(queue: str, task_id: str, app: str | None, broker: str | None, output: str) -> None:
    """Show the dead letter of TASK_ID in QUEUE: its history, its arguments, its traceback."""
    found = chosen(app_for(app, broker).broker, queue, Selection(frozenset({task_id})))
    if not found:
        raise QueueNotFound(f"no dead letter of task {task_id} waits in {queue}")
    for message in found:
        if output == "json":
            click.echo(json.dumps(_whole(message), indent=2, ensure_ascii=False, default=repr))
        else:
            _tell(message)


def _whole(message: Message) -> dict[str, Any]:
    headers = {key: value for key, value in message.headers.items() if key != DEAD_HEADER}
    return {**_row(message), "body": _body(message), "headers": headers, "properties": message.properties}


def _body(message: Message) -> Any:
    try:
        return decoded(message, frozenset(CONTENT_TYPES.values()))
    except MessageError as error:
        return f"({error})"


def _tell(message: Message) -> None:
    letter = epitaph(message)
    lines = {
        "id": message.id,
        "task": message.headers.get("task"),
        "args": message.headers.get("argsrepr"),
        "kwargs": message.headers.get("kwargsrepr"),
        "queue": letter.get("queue"),
        "reason": letter.get("reason"),
        "message": letter.get("message"),
        "died at": letter.get("at"),
        "deliveries": letter.get("deliveries"),
        "retries": letter.get("retries"),
        "exception": letter.get("exception"),
    }
    for name, value in lines.items():
        click.echo(f"{name + ':':<12}{'-' if value is None else value}")
    if letter.get("traceback"):
        click.echo(f"\n{letter['traceback'].rstrip()}")


@dead.command()
@click.argument("queue")
@selecting
@click.option("--to", help="Queue to send them to.  [default: the one that each came from]")
@click.option("--dry-run", is_flag=True, help="Only show which ones.")
@app_option
@broker_option
@output_option
def replay(
    queue: str, to: str | None, dry_run: bool, app: str | None, broker: str | None, output: str, **options: Any
) -> None:
    """Send the dead letters of QUEUE to their queues again, as they were, all or those that the options name.

    A crash in between makes at worst a duplicate.
    """
    client, selection = app_for(app, broker).broker, _selection(options)
    ready_letters(client, queue)
    if dry_run:
        show([_row(message) for message in chosen(client, queue, selection)], COLUMNS, output)
        return
    count = settle_letters(
        client, queue, selection, lambda message: (Outgoing(to or home_of(message, queue), exhume(message)),), "replay"
    )
    _report("replayed", count, output)


@dead.command()
@click.argument("queue")
@selecting
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@app_option
@broker_option
@output_option
def purge(queue: str, yes: bool, app: str | None, broker: str | None, output: str, **options: Any) -> None:
    """Drop the dead letters of QUEUE, all or those that the options name, for ever."""
    client, selection = app_for(app, broker).broker, _selection(options)
    ready_letters(client, queue)
    if not yes:
        found = len(chosen(client, queue, selection))
        click.confirm(f"Drop {found} dead letters of {queue} for ever?", abort=True)
    _report("dropped", settle_letters(client, queue, selection, lambda _: (), "purge"), output)


def _report(what: str, count: int, output: str) -> None:
    click.echo(json.dumps({what: count}) if output == "json" else f"{what}: {count}")
