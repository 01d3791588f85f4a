"""Stores: locks, ticks and other small shared state; the port, and one module for each server behind it."""

from __future__ import annotations

from importlib import import_module
from urllib.parse import urlsplit

from longshore.brokers.schemes import REDIS
from longshore.exceptions import ImproperlyConfigured, one_url, redact_url
from longshore.stores.port import Store

__all__ = ["open_store", "store_url"]

_MODULES = {"sqlite": "longshore.stores.sqlite", **dict.fromkeys(REDIS, "longshore.stores.redis")}


def store_url(*urls: str | None) -> str | None:
    """Return the first of these addresses that can be a store; `None` when none can (RabbitMQ alone)."""
    return next((url for url in urls if url and _module(url) is not None), None)


def _module(url: str) -> str | None:
    scheme = urlsplit(one_url(url)).scheme.lower()
    return "longshore.stores.sql" if scheme.startswith("db+") else _MODULES.get(scheme)


def open_store(url: str) -> Store:
    """Return the store for an address (``redis://``, ``sqlite:///FILE``, ``db+postgresql://`` …), not yet connected."""
    module = _module(url)
    if module is None:
        raise ImproperlyConfigured(
            f"store address {redact_url(url)!r} is unknown; use redis://, rediss://, sqlite:// or db+postgresql://"
        )
    store: Store = import_module(module).open(url)
    return store
