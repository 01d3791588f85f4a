"""`longshore completion`: the script that lets a shell complete the commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    For bash, once and for all: longshore completion bash > ~/.local/share/bash-completion/completions/longshore
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "longshore", "_LONGSHORE_COMPLETE").source())
