"""`longshore manifests`: the schedules of an app as CronSchedules for `kubectl apply`."""

from __future__ import annotations

import json

import click

from longshore.cli.loading import load_app
from longshore.manifests import cron_schedules


def _pairs(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for queue, equals, name in pairs:
        if not (queue and equals and name):
            raise click.BadParameter(f"{queue + equals + name!r} is not QUEUE=TASKQUEUE")
    return {queue: name for queue, _, name in pairs}


@click.command()
@click.argument("app")
@click.option("-n", "--namespace", help="Namespace of the manifests.  [default: none, kubectl's own]")
@click.option("--task-queue", "task_queues", multiple=True, metavar="QUEUE=TASKQUEUE", callback=_pairs,
              help="The TaskQueue of a broker's queue, where its name is another. May be repeated.")  # fmt: skip
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="Form of the output.")
def manifests(app: str, namespace: str | None, task_queues: dict[str, str], output: str) -> None:
    """Print a CronSchedule for each schedule of APP (MODULE:ATTRIBUTE, such as shop.tasks:app).

    Schedules are those of add_periodic_task and of the setting beat_schedule. Apply them:
    longshore manifests shop.tasks:app | kubectl apply -f -
    """
    loaded = load_app(app)
    loaded.finalize()
    found = cron_schedules(
        loaded.periodic_tasks(),
        loaded.queue_for,
        time_zone=loaded.conf.timezone,
        namespace=namespace,
        task_queues=task_queues,
    )
    if not found:
        click.echo(f"longshore: {app} declares no schedules", err=True)
    if output == "json":
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": found}, indent=2, ensure_ascii=False))
        return
    import yaml

    click.echo(yaml.safe_dump_all(found, sort_keys=False, allow_unicode=True), nl=False)
