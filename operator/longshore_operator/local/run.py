"""Puts a local run together: manifests, state folder, broker, ports, engine, display; and takes it apart again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from longshore.brokers.port import QueueSpec
from longshore.brokers.registry import open_broker
from longshore.exceptions import ImproperlyConfigured, redact_url
from longshore_operator.engine.context import EngineOptions
from longshore_operator.engine.engine import Engine
from longshore_operator.engine.ports import AddressProblem, Manifest
from longshore_operator.local.addresses import MANIFEST, LocalAddresses
from longshore_operator.local.display import Display, choose_display
from longshore_operator.local.documents import STDIN
from longshore_operator.local.environment import Store
from longshore_operator.local.manifests import Manifests, load
from longshore_operator.local.observer import Observer
from longshore_operator.local.resources import ErrorsAsEvents, LocalResources
from longshore_operator.local.session import Limits, Session
from longshore_operator.local.starting import Workplace
from longshore_operator.local.state import StateFolder
from longshore_operator.local.summary import Summary
from longshore_operator.local.workloads import LocalWorkloads

EMBEDDED = "embedded"
FIGURES_SECONDS = 0.5
MEASURE_SECONDS = 0.25
"""Statuses are in memory here: and the broker is a file: looks may be closer than in a cluster."""
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `longshore dev` was told."""

    paths: tuple[str, ...]
    recursive: bool
    folder: Path
    state: Path
    broker: str
    until_idle: bool
    timeout: float | None


async def run(options: RunOptions) -> Summary:
    """Run until the end; raise `LongshoreError` with one sentence where it cannot start."""
    manifests = load(options.paths, recursive=options.recursive)
    state = StateFolder(options.state)
    state.open()
    try:
        _log_to(state.logs / "dev.log")
        return await _run_in(options, manifests, state)
    finally:
        state.close()


async def _run_in(options: RunOptions, manifests: Manifests, state: StateFolder) -> Summary:
    store = Store(manifests.configuration)
    addresses = LocalAddresses(_one_broker(options.broker, state), state.broker_url, store)
    workplace = Workplace(options.folder, _import_path(options), state.logs, store, _own_variables(addresses, state))
    resources = LocalResources(manifests.resources, state.path / "status.json", time.time)
    workloads = LocalWorkloads(workplace.starter, time.time)
    url = await _common_address(addresses, resources)
    broker = open_broker(url)
    try:
        observer = Observer(resources, workloads, broker, time.time)
        broker.declare([QueueSpec(queue.queue_name) for queue in observer.queues])
        display = choose_display()
        _introduce(display, manifests, state, url)
        try:
            limits = Limits(options.until_idle, options.timeout)
            engine = _running_engine(resources, workloads, addresses)
            return await Session(observer, workloads, engine, display, limits).run()
        finally:
            display.close()
    finally:
        broker.close()


@contextlib.asynccontextmanager
async def _running_engine(
    resources: LocalResources, workloads: LocalWorkloads, addresses: LocalAddresses
) -> AsyncIterator[None]:
    """Run the operator's engine on the local ports; leaving ends it, so that nothing is scaled or sent any more."""
    settings = EngineOptions(
        images_required=False, figures_every_seconds=FIGURES_SECONDS, measure_seconds=MEASURE_SECONDS
    )
    engine = Engine(resources=resources, workloads=workloads, addresses=addresses, options=settings)
    resources.listener = workloads.listener = engine.touch
    logging.getLogger().addHandler(ErrorsAsEvents(resources))
    running = asyncio.create_task(engine.run(), name="engine")
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def _one_broker(choice: str, state: StateFolder) -> str | None:
    if choice == EMBEDDED:
        return state.broker_url
    return None if choice == MANIFEST else choice


async def _common_address(addresses: LocalAddresses, resources: LocalResources) -> str:
    """Return the broker that all queues are on: a run looks at one."""
    found: dict[str, Manifest] = {}
    for queue in resources.list("TaskQueue"):
        namespace, reference = queue["metadata"]["namespace"], (queue.get("spec") or {}).get("broker")
        try:
            found.setdefault((await addresses.resolve(namespace, reference)).url, queue)
        except AddressProblem as problem:
            raise ImproperlyConfigured(f"TaskQueue {queue['metadata']['name']}: {problem.message}") from None
    if len(found) > 1:
        names = " and ".join(queue["metadata"]["name"] for queue in found.values())
        raise ImproperlyConfigured(f"TaskQueues {names} are on different brokers; choose one for all with --broker URL")
    return next(iter(found))


def _own_variables(addresses: LocalAddresses, state: StateFolder) -> dict[str, str]:
    """What the workers get whatever their template says; following the manifests they get what those say."""
    if addresses.url is None:
        return {}
    return {"LONGSHORE_BROKER_URL": addresses.url, "LONGSHORE_RESULT_BACKEND": state.results_url}


def _import_path(options: RunOptions) -> tuple[Path, ...]:
    """The working folder first, then those of the manifests: an app often lies beside them."""
    given = (Path(path).absolute() for path in options.paths if path != STDIN)
    return tuple(dict.fromkeys((options.folder, *(path if path.is_dir() else path.parent for path in given))))


def _introduce(display: Display, manifests: Manifests, state: StateFolder, url: str) -> None:
    for notice in manifests.notices:
        display.say(notice)
    display.say(f"broker {redact_url(url)} (set LONGSHORE_BROKER_URL to it to send tasks); logs in {state.logs}")


def _log_to(file: Path) -> None:
    """The engine's own log goes into a file: the terminal belongs to the table."""
    logging.basicConfig(filename=file, level=logging.INFO, format=LOG_FORMAT, force=True)
