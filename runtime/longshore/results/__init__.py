"""Result backends: the port, and one module for each backend behind it."""

from __future__ import annotations

from importlib import import_module
from urllib.parse import urlsplit

from longshore.brokers.schemes import REDIS
from longshore.exceptions import ImproperlyConfigured, one_url, redact_url
from longshore.results.port import ResultBackend

__all__ = ["open_results"]

_MODULES = {
    "sqlite": "longshore.results.sqlite",
    **dict.fromkeys(REDIS, "longshore.results.redis"),
}


RPC, DISABLED = "rpc", "disabled"
"""Addresses of Celery's that name no server: answers through the broker, and no results at all."""


def open_results(url: str) -> ResultBackend:
    """Return the backend for an address, not yet connected; ``rpc://`` is opened by the app, which has the broker."""
    scheme = urlsplit(one_url(url)).scheme.lower()
    module = "longshore.results.sql" if scheme.startswith("db+") else _MODULES.get(scheme)
    if module is None:
        raise ImproperlyConfigured(
            f"result backend address {redact_url(url)!r} has the unknown scheme {scheme!r}; "
            "use redis://, rediss://, sqlite://, db+postgresql:// (or another database), rpc:// or disabled://"
        )
    backend: ResultBackend = import_module(module).open(url)
    return backend
