"""The command-line reference: what `--help` says of every command, in one page."""

from collections.abc import Iterator

import click

from docs.tools.markdown import code, page

WIDTH = 100
_INTRODUCTION = """\
What `--help` prints, for every command. `python -m longshore` is the same as `longshore`.

Exit codes of all commands: **0** done, **1** failed (a broker that does not answer, a run that timed out), **2** wrong
usage (an option, a setting, a manifest), **130** a question was answered with Ctrl-C. What went wrong is said in one
line on standard error. `longshore worker` ends with 0 after a drain; its Ctrl-C and SIGTERM are described in
[draining](../how-to/drain.md)."""


def commands_page() -> str:
    """Return the page."""
    from longshore.cli.main import cli as longshore
    from longshore_operator.cli.main import cli as operator

    found = [*walk(longshore, "longshore"), *walk(operator, "longshore-operator")]
    return page("Commands", _INTRODUCTION, *(f"## {name}\n\n{code(help_of(command, name))}" for name, command in found))


def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all commands in it, with their full names."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None, inner
            yield from walk(found, f"{name} {inner}")


def help_of(command: click.Command, name: str) -> str:
    """Return what a terminal of 100 columns shows."""
    settings = {"terminal_width": WIDTH, "max_content_width": WIDTH, **command.context_settings}
    settings.setdefault("help_option_names", ["-h", "--help"])
    return command.get_help(click.Context(command, info_name=name, **settings)).rstrip()
