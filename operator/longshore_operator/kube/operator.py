"""The operator as a process: caches that are always warm, an election, and the engine while this replica leads.

A leader that loses the Lease ends the whole process: nothing that it had begun can then do harm. SIGTERM ends the
engine first and gives the Lease back afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from longshore.exceptions import ImproperlyConfigured, LongshoreError
from longshore_operator.engine.engine import Engine
from longshore_operator.engine.ports import Unreachable
from longshore_operator.kube.access import Access
from longshore_operator.kube.addresses import KubeAddresses, NamedBroker
from longshore_operator.kube.cache import Cache
from longshore_operator.kube.client import ApiClient
from longshore_operator.kube.election import Elector
from longshore_operator.kube.events import Recorder
from longshore_operator.kube.lists import first_lists, keep_listing
from longshore_operator.kube.probes import Probes
from longshore_operator.kube.resources import KubeResources
from longshore_operator.kube.watch import Watch
from longshore_operator.kube.workloads import KubeWorkloads

logger = logging.getLogger(__name__)

FIRST_LIST_SECONDS = 60.0
WATCHDOG_SECONDS = 1.0
LOST_LEASE_EXIT = 1


@dataclass(frozen=True)
class OperatorOptions:
    """How the operator runs."""

    access: Access
    namespaces: tuple[str, ...] = ()
    """Served namespaces; none means all."""
    lease_namespace: str = "default"
    lease_name: str = "longshore-operator"
    brokers: Mapping[str, NamedBroker] = field(default_factory=dict)
    http_host: str = "0.0.0.0"  # noqa: S104 - probes come from the node
    http_port: int | None = 8080
    identity: str = field(default_factory=lambda: f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}")


class Operator:
    """One replica."""

    def __init__(self, options: OperatorOptions) -> None:
        self.options = options
        self.cache = Cache()
        self.client = ApiClient(options.access)
        self.elector = Elector(self.client, options.lease_namespace, options.lease_name, options.identity)
        self.client.may_write = self.elector.may_write
        self.recorder = Recorder(self.client, options.identity)
        self.engine: Engine | None = None
        self._warm = False
        self._stop = asyncio.Event()
        self._failure: str | None = None

    def stop(self) -> None:
        """End in good order."""
        self._stop.set()

    async def run(self) -> None:
        """Run until `stop`; raise `LongshoreError` for what cannot go on."""
        probes = self._probes()
        watch = Watch(self.options.access, self.cache, self.options.namespaces, self._watch_failed)
        try:
            if probes is not None:
                await _listen(probes, self.options.http_port)
            await self._warm_up()
            watch.start()
            self._warm = True
            await self._lead_until_stopped()
        finally:
            await watch.stop()
            if probes is not None:
                await probes.stop()
            await self.client.close()
        if self._failure is not None:
            raise LongshoreError(self._failure)

    async def _warm_up(self) -> None:
        deadline = time.monotonic() + FIRST_LIST_SECONDS
        while not self._stop.is_set():
            try:
                await first_lists(self.client, self.cache, self.options.namespaces)
            except Unreachable as error:
                if time.monotonic() > deadline:
                    raise LongshoreError(str(error)) from None
                logger.warning("%s; trying again", error)
                await asyncio.sleep(1.0)
            else:
                return

    async def _lead_until_stopped(self) -> None:
        helpers = [
            asyncio.create_task(keep_listing(self.client, self.cache, self.options.namespaces), name="lists"),
            asyncio.create_task(self.recorder.run(), name="events"),
        ]
        try:
            lead = asyncio.create_task(self._lead(), name="lead")
            stopped = asyncio.create_task(self._stop.wait(), name="stop")
            await asyncio.wait({lead, stopped, *helpers}, return_when=asyncio.FIRST_COMPLETED)
            await _end(stopped, lead)
        finally:
            await _end(*helpers)
            await self.elector.release()

    async def _lead(self) -> None:
        """Wait for the Lease, reconcile while we hold it; losing it ends the process."""
        await self.elector.acquire()
        logger.info("this replica leads: %s", self.options.identity)
        _watch_over(self.elector)
        engine = self.engine = self._new_engine()
        self.cache.listener = engine.touch
        running = asyncio.create_task(engine.run(), name="engine")
        holding = asyncio.create_task(self.elector.hold(), name="hold")
        try:
            await asyncio.wait({running, holding}, return_when=asyncio.FIRST_COMPLETED)
            self._failure = "the engine ended" if running.done() else "the Lease was lost; another replica leads"
            if running.done():
                running.result()
        finally:
            self.cache.listener = None
            await _end(running, holding)

    def _new_engine(self) -> Engine:
        return Engine(
            resources=KubeResources(self.client, self.cache, self.recorder),
            workloads=KubeWorkloads(self.client, self.cache),
            addresses=KubeAddresses(self.client, self.options.brokers),
        )

    def _watch_failed(self, why: str) -> None:
        self._failure = f"the watches cannot go on: {why}"
        self._stop.set()

    def _probes(self) -> Probes | None:
        if self.options.http_port is None:
            return None
        return Probes(self.options.http_host, self.options.http_port, lambda: self._warm, self._figures)

    def _figures(self) -> dict[str, float]:
        engine = self.engine
        figures = {
            "longshore_operator_leader": float(self.elector.may_write()),
            "longshore_operator_lease_renewals_total": float(self.elector.writes),
            "longshore_operator_reconciles_total": float(engine.reconciles if engine else 0),
            "longshore_operator_reconcile_failures_total": float(engine.failures if engine else 0),
            "longshore_operator_queue_length": float(len(engine.queue) if engine else 0),
        }
        requests = {
            f'longshore_operator_api_requests_total{{method="{method}"}}': float(count)
            for method, count in sorted(self.client.requests.items())
        }
        return {**figures, **requests}


def _watch_over(elector: Elector) -> None:
    """End the process, from a thread of its own, should the event loop hang for longer than the Lease holds."""

    def watch() -> None:
        while not elector.released:
            if not elector.may_write():
                logger.error("the Lease was not renewed in time: this replica ends")
                os._exit(LOST_LEASE_EXIT)
            time.sleep(WATCHDOG_SECONDS)

    threading.Thread(target=watch, name="lease watchdog", daemon=True).start()


async def _listen(probes: Probes, port: int | None) -> None:
    try:
        await probes.start()
    except OSError as error:
        raise ImproperlyConfigured(
            f"port {port} cannot be used for probes: {error.strerror}; see --http-port"
        ) from None


async def _end(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def run_operator(options: OperatorOptions) -> None:
    """Run one replica until SIGTERM or SIGINT."""
    operator = Operator(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, operator.stop)
    await operator.run()
