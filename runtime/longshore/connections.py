"""What an app is connected to: its broker, its results, its store. Each opens when it is first asked for.

Knows addresses and how to open them; knows nothing of tasks or messages.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from longshore.brokers import open_broker
from longshore.brokers.port import Broker
from longshore.exceptions import ImproperlyConfigured, NoResultBackend, NoStore
from longshore.results import DISABLED, RPC, open_results
from longshore.results.port import ResultBackend
from longshore.settings import Settings
from longshore.stores import open_store, store_url
from longshore.stores.port import Store

if TYPE_CHECKING:
    from longshore.results.awaiting import Awaiter


class Connections:
    """One process's connections, by an app's settings; they open anew after a fork."""

    def __init__(self, conf: Settings) -> None:
        self.conf = conf
        self._lock = threading.RLock()
        self._broker: Broker | None = None
        self._backend: ResultBackend | None = None
        self._store: Store | None = None
        self._has_replies: bool | None = None

    # -- the broker --------------------------------------------------------------------------------------------------

    @property
    def broker(self) -> Broker:
        """The broker of the settings."""
        with self._lock:
            if self._broker is None:
                self.require_broker()
                self._broker = open_broker(self.conf.broker_url, self.conf.broker_transport_options)
            return self._broker

    def require_broker(self) -> None:
        """Raise `ImproperlyConfigured`, which says what to do, where no broker is configured."""
        if not self.conf.broker_url:
            raise ImproperlyConfigured(
                "no broker: set broker_url, pass broker= or -b, or set LONGSHORE_BROKER_URL "
                "(sqlite:///tasks.db needs no server)"
            )

    # -- results -----------------------------------------------------------------------------------------------------

    @property
    def has_backend(self) -> bool:
        """Whether results have a place."""
        url = self.conf.result_backend
        return bool(url) and _scheme(url) != DISABLED

    @property
    def backend(self) -> ResultBackend:
        """The result backend of the settings; without one, `NoResultBackend`."""
        with self._lock:
            if self._backend is None:
                if not self.has_backend:
                    raise NoResultBackend(
                        "no result backend is configured: set result_backend or LONGSHORE_RESULT_BACKEND"
                    )
                url = self.conf.result_backend
                if _scheme(url) == RPC:
                    from longshore.results.rpc import RPCResults

                    self._backend = RPCResults(lambda: self.broker, persistent=self.conf.result_persistent)
                else:
                    self._backend = open_results(url)
            return self._backend

    @cached_property
    def awaiter(self) -> Awaiter:
        """Who waits for the results that coroutines await."""
        from longshore.results.awaiting import Awaiter  # whoever awaits nothing never loads asyncio

        return Awaiter(lambda: self.backend)

    def reply_to(self) -> str:
        """Return where answers to this process's calls go, if they travel as messages."""
        if self._has_replies is None:  # settings are slow to ask, and this is asked at every send
            self._has_replies = _scheme(self.conf.result_backend or "") == RPC
        return str(getattr(self.backend, "reply_to", "")) if self._has_replies else ""

    # -- the store ---------------------------------------------------------------------------------------------------

    @property
    def has_store(self) -> bool:
        """Whether locks, rate limits and idempotency keys have a place."""
        return self._store_url() is not None

    @property
    def store(self) -> Store:
        """The store of the settings: `store_url`, else the broker's or the results' server; without any, `NoStore`."""
        with self._lock:
            if self._store is None:
                self._store = self.open_store()
            return self._store

    def open_store(self) -> Store:
        """Return a store of one's own on the same address, for a thread that forks must not disturb."""
        self.require_store("a store is needed")
        return open_store(self._store_url() or "")

    def require_store(self, reason: str) -> None:
        """Raise `NoStore` with the reason, and what to do, where there is no store."""
        if not self.has_store:
            raise NoStore(
                f"{reason}, but there is no store: set store_url or LONGSHORE_STORE_URL to redis://… or sqlite:///FILE "
                "(RabbitMQ cannot be one)"
            )

    def _store_url(self) -> str | None:
        return store_url(self.conf.store_url, self.conf.broker_url, self.conf.result_backend)

    def close(self) -> None:
        """Close this process's connections; they open again when they are needed."""
        with self._lock:
            for resource in (self._backend, self._store, self._broker):
                if resource is not None:
                    resource.close()
            self._broker = self._backend = self._store = self._has_replies = None


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower()
