"""The middle of an address, ``user:password@host:port``, with one host or several.

Several are divided by ``;`` or ``,``; each may carry the user, as in kombu's addresses of sentinels.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from longshore.exceptions import ImproperlyConfigured

Node = tuple[str, int]
_BETWEEN = re.compile("[;,]")


class Place(NamedTuple):
    """Who and where."""

    username: str | None
    password: str | None
    nodes: tuple[Node, ...]


def place_of(netloc: str, port: int, shown: str, *, several: bool) -> Place:
    """Read the middle of an address; without a host it is 127.0.0.1, without a port `port`."""
    if not several and _BETWEEN.search(netloc.rpartition("@")[2]):
        raise ImproperlyConfigured(
            f"address {shown!r} names several servers; only sentinel:// and redis+cluster:// may do that"
        )
    users, nodes = [], []
    for part in _BETWEEN.split(netloc) if several else [netloc]:
        user, at, host = part.rpartition("@")
        users += [user] if at else []
        nodes.append(_node(host, port, shown))
    name, _, password = users[0].partition(":") if users else ("", "", "")
    return Place(unquote(name) or None, unquote(password) or None, tuple(nodes))


def _node(text: str, port: int, shown: str) -> Node:
    parts = urlsplit(f"//{text}")
    try:
        return parts.hostname or "127.0.0.1", parts.port or port
    except ValueError:
        raise ImproperlyConfigured(f"address {shown!r} has a port that is not a number up to 65535") from None
