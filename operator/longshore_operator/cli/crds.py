"""`longshore-operator crds`: print the CustomResourceDefinitions, or write them into a folder."""

from __future__ import annotations

from pathlib import Path

import click

from longshore_operator.api.crd import custom_resource_definitions, to_yaml


@click.command()
@click.option(
    "-d",
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write one file for each kind into this folder. Default: print them all.",
)
def crds(directory: Path | None) -> None:
    """Print the CustomResourceDefinitions, for `kubectl apply --server-side -f -`."""
    files = {name: to_yaml(document) for name, document in custom_resource_definitions().items()}
    if directory is None:
        click.echo("---\n".join(files.values()), nl=False)
        return
    try:
        _write(files, directory)
    except OSError as error:
        raise click.ClickException(f"cannot write the CRDs into {directory}: {error.strerror}") from None


def _write(files: dict[str, str], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
        click.echo(directory / name)
