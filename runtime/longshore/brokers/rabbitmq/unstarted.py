"""Which messages came back to the queue from this process without having been started here.

Pure. RabbitMQ marks whatever was given out before as redelivered, and a redelivered message is claimed alone, after its
start is noted in the broker: three round trips. For what this very process gave back nobody needs to ask. A classic
queue does not tell whether another process had the message meanwhile, so that each record holds once; a process that
dies of such a message takes its records along.
"""

from __future__ import annotations

MOST = 1000


class Unstarted:
    """Ids of messages, with how often they were given back. The oldest are forgotten first."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def record(self, message_id: str | None) -> None:
        """Note that a message goes back."""
        if message_id is None:
            return
        self._times[message_id] = self._times.pop(message_id, 0) + 1
        if len(self._times) > MOST:
            del self._times[next(iter(self._times))]

    def recall(self, message_id: str | None, given_out: int) -> bool:
        """Whether a redelivered message was given out to this process alone, as far as can be known.

        `given_out` is the count of a quorum queue, 0 where there is none.
        """
        if message_id is None:
            return False
        times = self._times.pop(message_id, 0)
        if not times or given_out > times:
            return False
        if given_out:
            self._times[message_id] = times
        return True

    def clear(self) -> None:
        """Forget all: with the connection, everything goes back in ways that nobody counts."""
        self._times.clear()
