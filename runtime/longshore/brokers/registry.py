"""From an address to a broker: the scheme decides, and a broker's module is imported only when it is used."""

from __future__ import annotations

from importlib import import_module
from urllib.parse import urlsplit

from longshore.brokers.port import Broker
from longshore.brokers.schemes import REDIS
from longshore.exceptions import ImproperlyConfigured, one_url, redact_url

_MODULES = {
    "sqlite": "longshore.brokers.sqlite",
    **dict.fromkeys(REDIS, "longshore.brokers.redis"),
    "amqp": "longshore.brokers.rabbitmq",
    "amqps": "longshore.brokers.rabbitmq",
    "pyamqp": "longshore.brokers.rabbitmq",
}


def open_broker(url: str) -> Broker:
    """Return the broker for an address such as ``sqlite:///tasks.db``, ``redis://host/0`` or ``amqp://user@host/vhost``.

    Nothing is connected yet. An unknown scheme is `ImproperlyConfigured`.
    """
    broker: Broker = import_module(module_of(url)).open(url)
    return broker


def module_of(url: str) -> str:
    """Return the package that speaks with the broker of an address."""
    scheme = urlsplit(one_url(url)).scheme.lower()
    module = _MODULES.get(scheme)
    if module is None:
        raise ImproperlyConfigured(
            f"broker address {redact_url(url)!r} has the unknown scheme {scheme!r}; "
            "use sqlite://, redis://, rediss://, valkey://, sentinel://, redis+cluster://, redis+socket://, amqp:// or amqps://"
        )
    return module
