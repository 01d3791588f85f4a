"""From an address to a broker: the scheme decides, and a broker's module is imported only when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from urllib.parse import urlsplit

from longshore.brokers.port import Broker
from longshore.brokers.schemes import REDIS
from longshore.exceptions import ImproperlyConfigured, one_url, redact_url

_RABBITMQ = "longshore.brokers.rabbitmq"
_CONFIRM = "confirm_publish="
_MODULES = {
    "sqlite": "longshore.brokers.sqlite",
    **dict.fromkeys(REDIS, "longshore.brokers.redis"),
    "amqp": _RABBITMQ,
    "amqps": _RABBITMQ,
    "pyamqp": _RABBITMQ,
}


def open_broker(url: str, transport_options: Mapping[str, object] | None = None) -> Broker:
    """Return the broker for an address such as ``sqlite:///tasks.db``, ``redis://host/0`` or ``amqp://user@host/vhost``.

    Nothing is connected yet. An unknown scheme is `ImproperlyConfigured`. `transport_options` are the setting
    `broker_transport_options`; what they say to RabbitMQ the address can say too, and the address wins.
    """
    module = module_of(url)
    if module == _RABBITMQ and (transport_options or {}).get("confirm_publish") is False and _CONFIRM not in url:
        url += f"{'&' if urlsplit(url).query else '?'}{_CONFIRM}false"
    broker: Broker = import_module(module).open(url)
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
