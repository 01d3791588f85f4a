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
    return next((url for url in urls if url and urlsplit(url).scheme.lower() in _MODULES), None)


def open_store(url: str) -> Store:
    """Return the store for an address (``redis://``, ``rediss://``, ``sqlite:///FILE``), not yet connected."""
    scheme = urlsplit(one_url(url)).scheme.lower()
    module = _MODULES.get(scheme)
    if module is None:
        raise ImproperlyConfigured(
            f"store address {redact_url(url)!r} has the unknown scheme {scheme!r}; use redis://, rediss:// or sqlite://"
        )
    store: Store = import_module(module).open(url)
    return store
