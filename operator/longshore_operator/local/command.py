"""``longshore dev``: from paths and options to a run, and from its end to an exit code."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from longshore_operator.local.state import DEFAULT_STATE


@click.command(context_settings={"show_default": True})
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "-R", "--recursive", is_flag=True, show_default=False, help="Look into the folders of a folder too.  [default: off]"
)
@click.option(
    "--cwd",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    show_default=False,
    help="Folder in which the workers run and from which apps are imported.  [default: the current folder]",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(DEFAULT_STATE),
    help="Folder that keeps broker, results and logs; a second run goes on where the first one stopped.",
)
@click.option(
    "--broker",
    default="embedded",
    metavar="URL|manifest|embedded",
    help="Broker of all queues: an address, what each TaskQueue's manifest says, or SQLite in the state folder.",
)
@click.option(
    "--until-idle",
    is_flag=True,
    show_default=False,
    help="End when nothing is ready, leased or delayed in any queue that is not suspended, and every schedule that is "
    "due within 10 s of the start has ticked.  [default: run until Ctrl-C]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Drain and end with exit code 1 after this time.  [default: no limit]",
)
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    help="How the summary at the end is printed on standard output.",
)
def dev(
    paths: tuple[str, ...],
    recursive: bool,
    cwd: Path,
    state: Path,
    broker: str,
    until_idle: bool,
    timeout: float | None,
    output: str,
) -> int:
    """Run the TaskQueues, WorkerPools and CronSchedules of PATH... on this machine, without a cluster.

    PATH is a YAML or JSON file, a folder of such files, or - for standard input. Pools run as local processes that
    the operator's own code scales; queues live in an embedded SQLite broker. Secrets and ConfigMaps among the
    manifests fill the workers' environment.

    A table on standard error shows the run: live on a terminal, otherwise a line for each change. Ctrl-C drains:
    running tasks finish; a second Ctrl-C kills, and what ran goes back to its queue. Nothing is lost either way.

    Exit codes: 0 done or drained, 1 failed, killed, timed out or not idle, 2 wrong usage or manifest.
    """
    from longshore_operator.local.manifests import ManifestErrors
    from longshore_operator.local.run import RunOptions, run
    from longshore_operator.local.summary import words

    options = RunOptions(paths, recursive, cwd.absolute(), state.absolute(), broker, until_idle, timeout)
    try:
        summary = asyncio.run(run(options))
    except ManifestErrors as errors:
        click.echo(str(errors), err=True)
        return 2
    click.echo(json.dumps(summary.as_json()) if output == "json" else "\n".join(words(summary)))
    return 0 if summary.ending == ("Idle" if until_idle else "Drained") else 1
