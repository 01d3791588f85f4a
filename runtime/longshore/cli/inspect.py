"""``longshore inspect``: ask the workers what they do."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from longshore.cli.connecting import app_for
from longshore.cli.output import app_option, broker_option, output_option, show
from longshore.exceptions import LongshoreError

_TASK = ("worker", "id", "name", "args", "kwargs", "queue", "seconds")
QUESTIONS = {
    "ping": "who is there",
    "active": "tasks that run",
    "reserved": "tasks that are claimed and have not started",
    "scheduled": "delayed tasks of the workers' queues",
    "registered": "tasks of the workers' apps; ARGUMENTS are attributes to show",
    "query_task": "where the tasks with the ids ARGUMENTS are",
    "revoked": "tasks that are revoked",
    "active_queues": "queues that are worked on",
    "stats": "what the workers are and have done",
    "conf": "their settings; with the argument true the defaults too",
    "report": "their installation",
    "clock": "their logical clocks",
}
destination_option = click.option(
    "-d", "--destination", help="Names of workers to ask, separated by commas.  [default: all]"
)
timeout_option = click.option(
    "-t",
    "--timeout",
    type=click.FloatRange(min=0.01),
    default=1.0,
    show_default=True,
    help="Seconds to wait for answers.",
)


@click.command(epilog="\b\nQuestions:\n" + "\n".join(f"  {name:14} {meaning}" for name, meaning in QUESTIONS.items()))
@click.argument("question", type=click.Choice(list(QUESTIONS)), metavar="QUESTION")
@click.argument("arguments", nargs=-1)
@destination_option
@timeout_option
@app_option
@broker_option
@output_option
def inspect(
    question: str,
    arguments: tuple[str, ...],
    destination: str | None,
    timeout: float,
    app: str | None,
    broker: str | None,
    output: str,
) -> None:
    """Ask the workers on the broker a QUESTION and show what they answer."""
    asked = app_for(app, broker).control.inspect(_names(destination), timeout)
    answers = asked.ask(question, **_arguments(question, arguments))
    if not answers:
        raise LongshoreError(f"nobody answered within {timeout:g} s; is there a worker on this broker?")
    if output == "json":
        click.echo(json.dumps(answers, indent=2, ensure_ascii=False))
        return
    for worker, answer in sorted(answers.items()):
        if isinstance(answer, Mapping) and "error" in answer:
            click.echo(f"{worker}: {answer['error']}", err=True)
    good = {name: answer for name, answer in answers.items() if not (isinstance(answer, Mapping) and "error" in answer)}
    if question == "report":
        for worker, answer in sorted(good.items()):
            click.echo(f"{worker}\n{answer['ok']}\n")
    else:
        rows, columns = table(question, good)
        show(rows, columns, output)


def _names(destination: str | None) -> list[str] | None:
    return [name.strip() for name in destination.split(",")] if destination else None


def _arguments(question: str, arguments: Sequence[str]) -> dict[str, Any]:
    match question:
        case "registered":
            return {"taskinfoitems": list(arguments)}
        case "query_task":
            return {"ids": list(arguments)}
        case "conf":
            return {"with_defaults": "".join(arguments)}
        case _ if arguments:
            raise click.UsageError(f"{question} takes no arguments")
        case _:
            return {}


Rows = list[dict[str, Any]]


def table(question: str, answers: Mapping[str, Any]) -> tuple[Rows, tuple[str, ...]]:
    """Return the rows and columns of what workers answered."""
    pairs = sorted(answers.items())
    match question:
        case "active" | "reserved":
            return [_task(worker, task) for worker, tasks in pairs for task in tasks], _TASK
        case "scheduled":
            rows = [{**_task(worker, one["request"]), "eta": one["eta"]} for worker, ones in pairs for one in ones]
            return rows, ("worker", "id", "name", "args", "kwargs", "queue", "eta")
        case "query_task":
            rows = [
                {**_task(worker, task), "state": state} for worker, found in pairs for state, task in found.values()
            ]
            return rows, ("state", *_TASK)
        case "active_queues":
            return [{"worker": worker, "queue": one["name"]} for worker, ones in pairs for one in ones], (
                "worker",
                "queue",
            )
        case "stats" | "conf":
            rows = [{"worker": worker, "name": name, "value": value} for worker, answer in pairs
                    for name, value in _flat(answer)]  # fmt: skip
            return rows, ("worker", "name", "value")
        case _:
            rows = [{"worker": worker, "answer": each} for worker, answer in pairs for each in _each(answer)]
            return rows, ("worker", "answer")


def _each(answer: Any) -> list[Any]:
    if isinstance(answer, list):
        return answer
    return list(answer.values()) if isinstance(answer, dict) else [answer]


def _flat(answer: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested mappings as dotted names."""
    found: list[tuple[str, Any]] = []
    for name, value in answer.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return found


def _task(worker: str, task: Mapping[str, Any]) -> dict[str, Any]:
    started = task.get("time_start")
    return {
        "worker": worker,
        "id": task.get("id"),
        "name": task.get("name"),
        "args": task.get("args"),
        "kwargs": task.get("kwargs"),
        "queue": (task.get("delivery_info") or {}).get("routing_key"),
        "seconds": max(0.0, time.time() - started) if started else None,
    }
