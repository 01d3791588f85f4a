"""``longshore-operator``: its commands, each imported only when it is used."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from longshore.exceptions import ImproperlyConfigured, LongshoreError

_COMMANDS = {
    "run": ("longshore_operator.cli.run", "run"),
    "crds": ("longshore_operator.cli.crds", "crds"),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = _COMMANDS.get(cmd_name)
        if where is None:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(where[0]), where[1])
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="longshore")
def cli() -> None:
    """The operator of Longshore: Python task workers on Kubernetes."""


def main() -> None:
    """Run a command: 0 done, 1 failed, 2 wrong usage. A user's mistake is one line, never a traceback."""
    try:
        cli.main(standalone_mode=True)
    except ImproperlyConfigured as error:
        click.echo(f"longshore-operator: {error}", err=True)
        sys.exit(2)
    except LongshoreError as error:
        click.echo(f"longshore-operator: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
