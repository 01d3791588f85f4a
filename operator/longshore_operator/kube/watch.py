"""kopf as the informer: its watches feed the cache, and nothing else of it is used.

kopf runs in a thread and a loop of its own: it takes signals and ends all tasks of its loop when it stops. Only
`on.event` handlers are registered, so that kopf never patches an object: no finalizer, no annotation, no peering, no
Event. It swallows what a handler raises and does not repair a deletion that it missed; the periodic lists do.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from longshore_operator.kube.access import Access
from longshore_operator.kube.cache import POOL_LABEL, Cache

logger = logging.getLogger(__name__)

WATCHED: dict[str, tuple[str, str, str]] = {
    "TaskQueue": ("longshore.dev", "v1alpha1", "taskqueues"),
    "WorkerPool": ("longshore.dev", "v1alpha1", "workerpools"),
    "CronSchedule": ("longshore.dev", "v1alpha1", "cronschedules"),
    "Deployment": ("apps", "v1", "deployments"),
    "Pod": ("", "v1", "pods"),
}
LABELLED = frozenset({"Deployment", "Pod"})
"""Of these kinds only what carries our label is watched: the API server leaves out the rest."""


def _import_kopf() -> Any:
    """Import kopf without the generated client, which it would pull in where installed: 19 MB for a type check."""
    hidden = "kubernetes" not in sys.modules
    if hidden:
        sys.modules["kubernetes"] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        import kopf
    finally:
        if hidden:
            del sys.modules["kubernetes"]
    return kopf


class Watch:
    """The watches of all kinds, of all namespaces or of the given ones. `failed` is called when they cannot go on."""

    def __init__(self, access: Access, cache: Cache, namespaces: Sequence[str], failed: Callable[[str], None]) -> None:
        self._access = access
        self._cache = cache
        self._namespaces = namespaces
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Start to watch."""
        self._thread.start()

    async def stop(self) -> None:
        """End the watches, if they were ever started; wait a moment for them."""
        self._stop.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 5.0)

    def _run(self) -> None:
        kopf = _import_kopf()
        logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
        logging.getLogger("kopf").setLevel(max(logging.getLogger().level, logging.WARNING))
        try:
            asyncio.run(
                kopf.operator(
                    registry=self._registry(kopf),
                    settings=_settings(kopf),
                    standalone=True,
                    clusterwide=not self._namespaces,
                    namespaces=self._namespaces,
                    stop_flag=self._stop,
                )
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the operator must not go on with a blind cache
            self._end(f"{type(error).__name__}: {error}")
        else:
            self._end("the watches ended")

    def _end(self, why: str) -> None:
        if not self._stop.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._failed, why)

    def _registry(self, kopf: Any) -> Any:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login(kopf))
        for kind, where in WATCHED.items():
            kopf.on.event(*where, registry=registry, id=f"see-{kind}")(self._handler(kind))
        return registry

    def _login(self, kopf: Any) -> Callable[..., Any]:
        access = self._access

        def login(**_: Any) -> Any:
            return kopf.ConnectionInfo(
                server=access.server,
                ca_data=access.ca_data.decode() if access.ca_data else None,
                certificate_data=access.certificate.decode() if access.certificate else None,
                private_key_data=access.private_key.decode() if access.private_key else None,
                token=access.bearer(),
                insecure=access.insecure,
                default_namespace=access.namespace,
            )

        return login

    def _handler(self, kind: str) -> Callable[..., Any]:
        async def see(event: Any, **_: Any) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._take, kind, event["type"], event["object"])

        return see

    def _take(self, kind: str, event: str | None, item: Any) -> None:
        if event == "DELETED":
            self._cache.drop(kind, item)
        else:
            self._cache.put(kind, item)


def _settings(kopf: Any) -> Any:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.connect_timeout = 10
    for kind in LABELLED:
        settings.watching.label_selectors[WATCHED[kind]] = POOL_LABEL
    return settings
