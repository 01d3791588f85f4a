"""The `longshore` command: finds its subcommands late, so that `worker` starts fast and help lists them all."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import click

from longshore import __version__
from longshore.exceptions import ImproperlyConfigured, LongshoreError

_COMMANDS = {
    "worker": "longshore.cli.worker:worker",
    "call": "longshore.cli.call:call",
    "completion": "longshore.cli.completion:completion",
    "inspect": "longshore.cli.inspect:inspect",
    "task": "longshore.cli.task:task",
    "queue": "longshore.cli.queue:queue",
    "dead": "longshore.cli.dead:dead",
    "manifests": "longshore.cli.manifests:manifests",
}


class LateGroup(click.Group):
    """A group whose commands are imported when they are asked for; extras join by the group `longshore.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands."""
        return sorted({*_COMMANDS, *(entry.name for entry in entry_points(group="longshore.commands"))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, importing its module."""
        if cmd_name in _COMMANDS:
            module, _, attribute = _COMMANDS[cmd_name].partition(":")
            return _command(getattr(import_module(module), attribute))
        for entry in entry_points(group="longshore.commands", name=cmd_name):
            return _command(entry.load())
        return None


def _command(found: Any) -> click.Command:
    assert isinstance(found, click.Command)
    return found


@click.group(cls=LateGroup, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, "-V", "--version", prog_name="longshore")
def cli() -> None:
    """Python task workers that never lose a task."""


def main() -> None:
    """Run the command; a user's mistake is one line on standard error and exit code 2, a failure 1."""
    try:
        code = cli.main(standalone_mode=False, prog_name="longshore")
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except ImproperlyConfigured as error:
        click.echo(f"longshore: {error}", err=True)
        code = 2
    except LongshoreError as error:
        click.echo(f"longshore: {error}", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
