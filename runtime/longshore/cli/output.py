"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Form of the output.",
)
broker_option = click.option(
    "-b", "--broker", help="Broker address.  [default: LONGSHORE_BROKER_URL, else that of --app]"
)
app_option = click.option("-A", "--app", help="App (MODULE:ATTRIBUTE) whose settings hold.  [default: none]")


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], output: str) -> None:
    """Print rows; a value that is unknown is a dash in a table and null in JSON."""
    if output == "json":
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False, default=str))
        return
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max([len(column), *(len(line[index]) for line in cells)]) for index, column in enumerate(columns)]
    for line in [[column.upper().replace("_", " ") for column in columns], *cells]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def show_facts(facts: Mapping[str, Any], output: str) -> None:
    """Print what is known of one thing, a line a fact; a list has a line for each of its parts."""
    if output == "json":
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False, default=str))
        return
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        parts = value if isinstance(value, list) else [value]
        for index, part in enumerate(parts or [None]):
            label = "" if index else f"{name.replace('_', ' ')}:"
            click.echo(f"{label:<{width}}{_cell(part)}")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
