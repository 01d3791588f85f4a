"""``longshore call``: send one task by name."""

from __future__ import annotations

import json
from typing import Any

import click

from longshore.cli.connecting import app_for
from longshore.cli.output import app_option, broker_option, output_option
from longshore.exceptions import LongshoreError
from longshore.result import AsyncResult


class Json(click.ParamType[Any]):
    """A JSON value of a given kind."""

    name = "JSON"

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the text."""
        if isinstance(value, self._kind):
            return value
        try:
            parsed = json.loads(str(value))
        except ValueError as error:
            self.fail(f"not JSON: {error}", param, ctx)
        if not isinstance(parsed, self._kind):
            self.fail(f"{value!r} is not a JSON {'array' if self._kind is list else 'object'}", param, ctx)
        return parsed


@click.command(context_settings={"show_default": True})
@click.argument("task")
@click.option("-a", "--args", type=Json(list), default="[]", help="Positional arguments, a JSON array.")
@click.option("-k", "--kwargs", type=Json(dict), default="{}", help="Keyword arguments, a JSON object.")
@click.option("-Q", "--queue", help="Queue.  [default: the app's rule for the task]")
@click.option(
    "--countdown", type=click.FloatRange(min=0), help="Run it this many seconds from now.  [default: at once]"
)
@click.option("--priority", type=click.IntRange(0, 9), help="0 is the lowest, 9 the highest.  [default: none]")
@click.option("--wait", type=click.FloatRange(min=0), help="Wait up to this many seconds for the result and print it.")
@app_option
@broker_option
@output_option
def call(
    task: str,
    args: list[Any],
    kwargs: dict[str, Any],
    queue: str | None,
    countdown: float | None,
    priority: int | None,
    wait: float | None,
    app: str | None,
    broker: str | None,
    output: str,
) -> None:
    """Send the task named TASK and print its id, or with --wait its result."""
    result = app_for(app, broker).send_task(task, args, kwargs, queue=queue, countdown=countdown, priority=priority)
    value = _wait_for(result, wait) if wait is not None else None
    if output == "json":
        click.echo(json.dumps({"id": result.id, **({} if wait is None else {"result": value})}, default=str))
    else:
        click.echo(result.id if wait is None else value)


def _wait_for(result: AsyncResult, seconds: float) -> Any:
    """Return the value; a task that failed ends the command with its exception in one line."""
    try:
        return result.get(timeout=seconds)
    except LongshoreError:
        raise
    except Exception as error:  # noqa: BLE001 - it is the task's, whatever that is
        raise click.ClickException(f"task {result.id} failed: {type(error).__name__}: {error}") from None
