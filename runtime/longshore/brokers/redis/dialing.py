"""The first steps with a server: the way to a socket file, and what is said first on every connection."""

from __future__ import annotations

import socket

from longshore.brokers.redis.address import Address


def dial_file(path: str, timeout: float) -> socket.socket:
    """Return a connection to a socket file; the time-out stays with it."""
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(timeout)
    try:
        plain.connect(path)
    except OSError:
        plain.close()
        raise
    return plain


def greeting(address: Address) -> list[tuple[str | int, ...]]:
    """Return who we are, which database, and, where a server was found by its role, the question for that role."""
    commands: list[tuple[str | int, ...]] = []
    if address.password is not None:
        commands.append(("AUTH", *([address.username] if address.username else []), address.password))
    commands.append(("PING",) if address.is_sentinel else ("SELECT", address.database))
    return [*commands, ("ROLE",)] if address.sentinels else commands
