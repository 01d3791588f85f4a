"""How many deliveries a consumer may hold unacknowledged, from what it was asked for.

Pure. The limit of a claim follows measured durations and so changes all the time; the broker is told only when it is
worth a message. It may never be above what was asked.
"""

from __future__ import annotations

SMALL = 4


def next_prefetch(current: int, outstanding: int, limit: int) -> int:
    """Return the prefetch for `outstanding` claims that are handed out and `limit` more that are wanted."""
    free = current - outstanding
    if limit > free:
        worth_it = free < 1 or 2 * limit >= 3 * free
        return outstanding + limit if worth_it else current
    if limit < free:
        return outstanding + (limit if limit <= SMALL else max(SMALL, limit * 3 // 4))
    return current
