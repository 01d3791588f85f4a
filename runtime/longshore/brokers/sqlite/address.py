"""From ``sqlite:///tasks.db?durability=full`` to a path and its options; SQLAlchemy's habits for the slashes.

Knows nothing of SQLite itself; a mistake is `ImproperlyConfigured` with the way to write it right.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from longshore.brokers.port import SEND_DEADLINE_SECONDS
from longshore.exceptions import ImproperlyConfigured

Durability = Literal["normal", "full"]

_HOW = "write sqlite:///relative.db or sqlite:////absolute/path.db"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the file is and how it is written.

    `durability` is ``normal`` (survives the death of every process, perhaps not a power loss) or ``full`` (synced at
    each commit). `timeout` is how long a call waits for its turn to write.
    """

    path: str
    durability: Durability = "normal"
    timeout: float = SEND_DEADLINE_SECONDS


def parse_address(url: str) -> Address:
    """Read a URL; a relative path is relative to the working directory of this moment."""
    parts = urlsplit(url)
    if parts.netloc:
        raise ImproperlyConfigured(f"{url!r} names a host, but SQLite is a local file; {_HOW}")
    path = unquote(parts.path[1:])
    if path in ("", ":memory:"):
        raise ImproperlyConfigured(f"{url!r} names no file, and processes cannot share memory; {_HOW}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    durability, timeout = _durability(url, options), _timeout(url, options)
    if options:
        unknown = ", ".join(sorted(options))
        raise ImproperlyConfigured(f"{url!r} has the unknown option {unknown}; there are durability and timeout")
    return Address(os.path.abspath(path), durability, timeout)  # noqa: PTH100 - resolve() would follow links


def _durability(url: str, options: dict[str, str]) -> Durability:
    value = options.pop("durability", "normal")
    if value == "normal":
        return "normal"
    if value == "full":
        return "full"
    raise ImproperlyConfigured(f"durability in {url!r} is {value!r}; it is normal or full")


def _timeout(url: str, options: dict[str, str]) -> float:
    value = options.pop("timeout", None)
    if value is None:
        return SEND_DEADLINE_SECONDS
    try:
        timeout = float(value)
    except ValueError:
        timeout = 0.0
    if not 0 < timeout < 3600:  # noqa: PLR2004 - an hour is for ever
        raise ImproperlyConfigured(f"timeout in {url!r} is {value!r}; it is a number of seconds above 0")
    return timeout
