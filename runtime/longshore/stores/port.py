"""The third port, beside brokers and results: small shared state with an expiry, by the server's clock.

Locks, turns of a rate limit, marks that everybody reads (revocations), counts (parts of a chord), and keys that the
first one gets (ticks, idempotency keys). A *holder* is whoever asks: a claim, so that a lock is fenced by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from longshore.core.ratelimit import Rate, Turn

REVOKED_KIND, REVOKED_STAMPS_KIND = "revoked", "revoked-stamps"
REVOKED_SECONDS = 7 * 86_400.0
"""How long it is remembered that a task was revoked."""


class Marks(NamedTuple):
    """Marks as they were read: those newer than the cursor that was given, and the cursor to give next time."""

    cursor: int
    ids: list[str]


class Store(Protocol):
    """Opens lazily, anew after a fork; threads may share it; every call has a deadline and raises `BackendError`.

    Every `expires` is in seconds, by the server's clock.
    """

    url: str

    def claim_once(self, key: str, holder: str, *, expires: float) -> bool:
        """Set `key` to `holder` unless it is set; return whether it now belongs to `holder` (also when it did before).

        Asking again does not prolong it.
        """

    def acquire(self, name: str, holder: str, *, expires: float) -> float:
        """Take a lock until `expires`; return 0.0 when it is `holder`'s now, else in how many seconds it is free at
        the latest, unless it is renewed. Asking again as its holder renews it.
        """

    def renew(self, name: str, holder: str, *, expires: float) -> bool:
        """Prolong a lock; `False` when it is not this holder's any more."""

    def release(self, name: str, holder: str) -> bool:
        """Free a lock at once; `False` when it was not this holder's any more."""

    def take(self, key: str, rate: Rate, *, count: int = 1, horizon: float = 0.0) -> Turn:
        """Take the next `count` turns of a rate, one interval apart, if the first is at most `horizon` seconds ahead.

        At most one task runs in an interval, whoever asks: what was not used is not saved up.
        """

    def mark(self, kind: str, ids: Sequence[str], *, expires: float) -> None:
        """Mark ids for everybody; marking again prolongs, and shows the mark anew to who reads from a cursor."""

    def marked(self, kind: str, since: int = 0) -> Marks:
        """Return the marks that were set, or set again, after the cursor `since` (0: all) and have not expired.

        A cursor is never reused, also when the server has lost its marks meanwhile.
        """

    def unmark(self, kind: str, ids: Sequence[str]) -> None:
        """Remove marks. Who has read them already is not told."""

    def count(self, key: str, member: str, *, expires: float) -> int:
        """Add a member to a set and return how many different ones it has; each addition prolongs it."""

    def close(self) -> None:
        """Close the connections of this process."""
