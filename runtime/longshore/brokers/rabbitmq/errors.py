"""How RabbitMQ says no, as errors that a person understands.

A `ChannelClosed` never leaves the package: whoever called decides what the code means there. A `ConnectionLost` may: it
is a `BrokerUnavailable` whose text holds the host and no password.
"""

from __future__ import annotations

import re

from longshore.brokers.rabbitmq.methods import Close
from longshore.exceptions import BrokerError, BrokerFull, BrokerRefused, BrokerUnavailable

ACCESS_REFUSED = 403
NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406
NOT_ALLOWED = 530
NOT_IMPLEMENTED = 540

_PREFIX = re.compile(r"^[A-Z_]+ - ")


class ConnectionLost(BrokerUnavailable):
    """The connection broke, or the broker was silent for too long; `close` is what the broker said, if it did."""

    def __init__(self, message: str, close: Close | None = None) -> None:
        super().__init__(message)
        self.close = close


class ChannelClosed(BrokerError):
    """The broker closed a channel because of what was asked on it."""

    def __init__(self, close: Close) -> None:
        super().__init__(f"RabbitMQ refuses: {plain(close.text)}")
        self.code = close.code
        self.text = plain(close.text)


def plain(text: str) -> str:
    """Return RabbitMQ's text without its shouting prefix."""
    return _PREFIX.sub("", text)


def refused(label: str, user: str, vhost: str, close: Close) -> BrokerError:
    """Return the error for a connection that the broker closed while it was being opened."""
    if close.code == ACCESS_REFUSED:
        return BrokerRefused(f"RabbitMQ at {label} refuses the user {user!r}: wrong user name or password")
    if close.code == NOT_ALLOWED:
        return BrokerRefused(f"RabbitMQ at {label} refuses the vhost {vhost!r} for {user!r}: {plain(close.text)}")
    return BrokerUnavailable(f"RabbitMQ at {label} closed the connection: {plain(close.text)}")


def blocked(reason: str) -> BrokerFull:
    """Return the error for a broker that has told that it takes no messages now."""
    return BrokerFull(f"RabbitMQ takes no messages now ({reason}): free memory or disk on the broker")
