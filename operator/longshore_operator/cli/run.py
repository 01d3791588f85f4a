"""``longshore-operator run``: from options to a running replica."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from longshore.exceptions import ImproperlyConfigured
from longshore.worker.logs import LEVELS, configure_logging

if TYPE_CHECKING:
    from longshore_operator.kube.addresses import NamedBroker


@click.command(context_settings={"show_default": True})
@click.option("-n", "--namespace", "namespaces", multiple=True, metavar="NAME",
              help="Serve this namespace only. May be repeated.  [default: all namespaces]")  # fmt: skip
@click.option("--brokers", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="YAML with the operator's named brokers: NAME: {url | secret {name, key}, allowedNamespaces}.  "
              "[default: none]")  # fmt: skip
@click.option("--kubeconfig", metavar="FILE", help="How to reach the cluster.  [default: KUBECONFIG, else the pod's "
              "service account, else ~/.kube/config]")  # fmt: skip
@click.option("--lease-namespace", metavar="NAME", help="Where the Lease of the election is.  [default: the namespace "
              "of the account]")  # fmt: skip
@click.option("--lease-name", default="longshore-operator", help="Name of the Lease of the election.")
@click.option("--http-host", default="0.0.0.0", help="Address of the probes.")  # noqa: S104 - they come from the node
@click.option("--http-port", type=click.IntRange(0, 65535), default=8080, envvar="LONGSHORE_HTTP_PORT",
              help="Port of /healthz, /readyz and /metrics; 0 for none.")  # fmt: skip
@click.option("-l", "--log-level", type=click.Choice(LEVELS, case_sensitive=False), default="info",
              help="Least severe level that is logged.")  # fmt: skip
@click.option("--log-format", type=click.Choice(["auto", "text", "json"]), default="auto",
              help="auto: text on a terminal, JSON otherwise.")  # fmt: skip
def run(
    namespaces: tuple[str, ...],
    brokers: Path | None,
    kubeconfig: str | None,
    lease_namespace: str | None,
    lease_name: str,
    http_host: str,
    http_port: int,
    log_level: str,
    log_format: str,
) -> None:
    """Run one replica of the operator, in the foreground. Several may run: one leads, the others stand by.

    SIGTERM ends it and lets another replica lead at once. Workers are not touched by that.
    """
    from longshore_operator.kube.access import find_access
    from longshore_operator.kube.operator import OperatorOptions, run_operator

    configure_logging(log_level, json_lines=None if log_format == "auto" else log_format == "json")
    access = find_access(kubeconfig)
    options = OperatorOptions(
        access=access,
        namespaces=namespaces,
        lease_namespace=lease_namespace or access.namespace,
        lease_name=lease_name,
        brokers=read_brokers(brokers) if brokers is not None else {},
        http_host=http_host,
        http_port=http_port or None,
    )
    asyncio.run(run_operator(options))


def read_brokers(path: Path) -> Mapping[str, NamedBroker]:
    """Read the file of named brokers."""
    try:
        document = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ImproperlyConfigured(f"brokers file {path} cannot be read: {error}") from None
    if not isinstance(document, Mapping):
        raise ImproperlyConfigured(f"brokers file {path} must map names to brokers")
    return {str(name): _named_broker(str(name), entry) for name, entry in document.items()}


def _named_broker(name: str, entry: Any) -> NamedBroker:
    from longshore_operator.kube.addresses import ALL_NAMESPACES, NamedBroker

    if not isinstance(entry, Mapping) or bool(entry.get("url")) == bool(entry.get("secret")):
        raise ImproperlyConfigured(f"broker {name!r} needs exactly one of url and secret {{name, key}}")
    secret = entry.get("secret") or {}
    return NamedBroker(
        url=entry.get("url"),
        secret=secret.get("name"),
        key=secret.get("key", "url"),
        allowed_namespaces=tuple(entry.get("allowedNamespaces") or (ALL_NAMESPACES,)),
    )
