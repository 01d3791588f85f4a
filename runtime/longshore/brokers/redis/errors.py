"""From what a connection or the server says to an error of the port.

One table, so that the same trouble has the same name whichever call met it; texts never hold a password.
"""

from __future__ import annotations

import re

from longshore.brokers.redis.address import Address
from longshore.brokers.redis.connection import ConnectFailed, ConnectionBroken, ReplyError
from longshore.exceptions import BackendError, BrokerError, BrokerFull, BrokerRefused, BrokerUnavailable

Trouble = ReplyError | ConnectFailed | ConnectionBroken

_KIND = re.compile(r"-?\b(OOM|MISCONF|READONLY|LOADING|MASTERDOWN|BUSY|NOPERM|NOAUTH|WRONGPASS|MOVED|CLUSTERDOWN)\b")
_MOVING = re.compile(r"\b(MOVED|ASK|TRYAGAIN|CLUSTERDOWN|EXECABORT)\b|non local key")
_REPLIES: dict[str, tuple[type[BrokerError], str]] = {
    "OOM": (BrokerFull, "is out of memory (maxmemory): consume or purge messages, or raise the limit"),
    "MISCONF": (BrokerFull, "cannot write its snapshot and takes no writes: look at its disk and its log"),
    "READONLY": (BrokerUnavailable, "is a read-only replica: the address must name the primary"),
    "LOADING": (BrokerUnavailable, "is loading its data"),
    "MASTERDOWN": (BrokerUnavailable, "is a replica that has lost its primary"),
    "BUSY": (BrokerUnavailable, "is busy with a script of somebody else"),
    "NOPERM": (BrokerRefused, "does not permit this user what a broker needs"),
    "NOAUTH": (BrokerRefused, "wants a password; put it into the address"),
    "WRONGPASS": (BrokerRefused, "refuses the connection: check user name and password"),
    "MOVED": (BrokerRefused, "is a Redis Cluster: write redis+cluster:// in the address"),
    "CLUSTERDOWN": (BrokerRefused, "is a Redis Cluster: write redis+cluster:// in the address"),
}


def broker_error(trouble: Trouble, address: Address) -> BrokerError:
    """Return the port's error for this trouble."""
    if isinstance(trouble, ConnectFailed):
        return BrokerRefused(str(trouble)) if _is_refusal(trouble) else BrokerUnavailable(str(trouble))
    if isinstance(trouble, ConnectionBroken):
        return BrokerUnavailable(str(trouble))
    if _is_moving(trouble, address):
        return BrokerUnavailable(f"Redis at {address.shown} is moving what is asked for to another node ({trouble})")
    match = _KIND.search(str(trouble))
    if match is None:
        return BrokerRefused(f"Redis at {address.shown} refuses: {trouble}")
    kind, text = _REPLIES[match[1]]
    detail = f" ({trouble})" if match[1] == "NOPERM" else ""
    return kind(f"Redis at {address.shown} {text}{detail}")


def is_passing(reply: ReplyError, address: Address) -> bool:
    """Whether this server is not the right one just now, and another attempt may reach one that is."""
    return str(reply).startswith(("LOADING", "READONLY", "MASTERDOWN")) or _is_moving(reply, address)


def _is_moving(trouble: ReplyError, address: Address) -> bool:
    """Whether the slot is at another node of a cluster, on its way there, or at none."""
    return address.is_cluster and _MOVING.search(str(trouble)) is not None


def backend_error(trouble: Trouble, address: Address) -> BackendError:
    """Return the error of a result backend or a store for this trouble."""
    return BackendError(str(broker_error(trouble, address)))


def _is_refusal(trouble: ConnectFailed) -> bool:
    return trouble.final and "no such host" not in str(trouble)
