"""The third port, beside brokers and results: small shared state with an expiry (decided names: locks, ticks …).

The first user is tick de-duplication: a CronSchedule's tick that is published twice runs once.
"""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """Shared, expiring marks. Opens lazily, anew after a fork; every call has a deadline and raises `BackendError`."""

    url: str

    def claim_once(self, key: str, holder: str, *, expires: float) -> bool:
        """Set `key` to `holder` unless it is set; return whether it now belongs to `holder` (also when it did before).

        `expires` is in seconds, by the server's clock.
        """

    def close(self) -> None:
        """Close the connections of this process."""
