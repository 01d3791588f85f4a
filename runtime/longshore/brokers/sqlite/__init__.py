"""The embedded broker: one SQLite file behind the broker port. One host, one writer at a time, nothing to install.

Opening imports the broker only now, so that a process which uses another one never loads SQLite.
"""

from __future__ import annotations

from longshore.brokers.port import Broker


def open(url: str) -> Broker:  # noqa: A001 - the name that the registry calls
    """Return the broker for ``sqlite:///FILE``; the file is opened, or made, with the first call."""
    from longshore.brokers.sqlite.broker import SQLiteBroker

    return SQLiteBroker(url)
