"""Where a server is at this moment: the primary that sentinels know, the node of a cluster that serves a key.

Asked anew at each opening of a connection, because a fail-over or a move of slots closes the old one: nothing is
remembered that could be wrong. Knows what to ask; knows nothing of queues.
"""

from __future__ import annotations

import random
from binascii import crc_hqx
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from longshore.brokers.redis.address import Address
from longshore.brokers.redis.connection import ConnectFailed, Connection, ConnectionBroken, Reply, ReplyError, pack
from longshore.brokers.redis.hosts import Node

SLOTS = 16384
_TAGS = 8
"""More would be more connections, fewer would leave nodes of a usual cluster without keys."""
_LEAST_PATIENCE = 0.1


def located(address: Address, deadline: float) -> Node:
    """Return host and port; raise `ConnectFailed` when nobody knows now."""
    if address.sentinels:
        return _first_answer(address, _sentinels(address), _ask_for_primary(address.primary), deadline)
    contacts = [replace(address, host=host, port=port, pinned=None) for host, port in address.contacts]
    return _first_answer(address, contacts, _ask_for_node(slot_of(address.pinned or "")), deadline)


def slot_of(key: str) -> int:
    """Return the slot of a key: of what is between its first braces, else of all of it."""
    data = key.encode()
    start = data.find(b"{") + 1
    end = data.find(b"}", start) if start else -1
    return crc_hqx(data[start:end] if end > start else data, 0) % SLOTS


def tag_of(what: str, name: str) -> str:
    """Return one of the hash tags over which keys of a kind are spread in a cluster."""
    return f"{{{what}-{crc_hqx(name.encode(), 0) % _TAGS}}}"


Question = tuple[bytes, Callable[[Reply, Address], Node | None]]


def _ask_for_primary(name: str) -> Question:
    def read(reply: Reply, _: Address) -> Node | None:
        return (reply[0].decode(), int(reply[1])) if isinstance(reply, list) else None

    return pack("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name), read


def _ask_for_node(slot: int) -> Question:
    def read(reply: Reply, asked: Address) -> Node | None:
        return _node_of(reply, slot, asked) if isinstance(reply, list) else None

    return pack("CLUSTER", "SLOTS"), read


def _node_of(ranges: Sequence[Any], slot: int, asked: Address) -> Node | None:
    """Return who serves a slot; a node without a name of its own is the one that was asked."""
    for first, last, primary, *_ in ranges:
        if first <= slot <= last:
            return (primary[0] or b"").decode() or asked.host, int(primary[1])
    return None


def _sentinels(address: Address) -> list[Address]:
    return [
        replace(
            address, host=host, port=port, sentinels=(), is_sentinel=True, path=None,
            username=address.sentinel_username, password=address.sentinel_password,
        )
        for host, port in address.sentinels
    ]  # fmt: skip


def _first_answer(address: Address, servers: list[Address], question: Question, deadline: float) -> Node:
    """Ask one after the other, in any order: one that is silent or behind shall not be the first each time."""
    trouble = "nobody of those that were asked knows"
    random.shuffle(servers)
    for number, server in enumerate(servers):
        share = (deadline - monotonic()) / (len(servers) - number + 1)
        try:
            node = _answer(server, question, monotonic() + max(share, _LEAST_PATIENCE))
        except (ConnectFailed, ConnectionBroken, ReplyError) as error:
            trouble = str(error)
            continue
        if node is not None:
            return node
    what = f"the primary {address.primary!r}" if address.sentinels else "the node of a key"
    raise ConnectFailed(f"Redis at {address.shown}: {what} is not known now ({trouble})")


def _answer(server: Address, question: Question, deadline: float) -> Node | None:
    request, read = question
    connection = Connection(server)
    try:
        connection.open(deadline)
        [reply] = connection.exchange(request, 1, deadline)
        if isinstance(reply, ReplyError):
            raise reply
        return read(reply, server)
    finally:
        connection.close()
