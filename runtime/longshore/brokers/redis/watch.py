"""The blocking wait of an idle consumer, which pops nothing unheld.

`BLMOVE queue → inbox` moves a message under the owner's lease: whatever happens next, it is claimed by the owner or
goes back when the lease is over. A wait is shorter than the lease, and the lease is renewed in the same packet before
it begins, so that a silent node's wait has ended on the server before its lease has. One connection a watched queue.
Knows nothing of claims: the caller runs the claim script when a watch has ended.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from time import monotonic

from longshore.brokers.redis.address import Address
from longshore.brokers.redis.connection import Connection, ReplyError, pack
from longshore.brokers.redis.errors import is_passing
from longshore.brokers.redis.keys import own
from longshore.brokers.redis.scripts import script

MOST_WATCHES = 4
_MOVE_SHARE_OF_LEASE = 0.6
_TRUSTED_SHARE_OF_LEASE = 0.9
_DEADLINE = 5.0
_REST = 0.25
_UNBLOCK_PAUSE = 0.01


class Watch:
    """One connection that waits on one queue's list."""

    def __init__(self, address: Address, owner: str, queue: str) -> None:
        self._connection = Connection(address)
        seconds = address.lease_seconds * _MOVE_SHARE_OF_LEASE
        self._trusted = address.lease_seconds * _TRUSTED_SHARE_OF_LEASE
        self._armed_at = 0.0
        self._address = address
        self._keep = script("keep", address.is_cluster)
        self._enroll = self._keep.call([owner], address.lease_seconds, [queue], True)
        self._move = pack("BLMOVE", queue, own(queue, f"inbox:{owner}"), "RIGHT", "LEFT", f"{seconds:.3f}")
        self.queue = queue
        self.moved: bytes | None = None
        """What the wait has brought, on its way into a claim."""
        self._client = 0
        self._rests_until = 0.0
        self._expected = 0
        """Replies that are still to come."""

    def arm(self) -> None:
        """Begin to wait, unless it waits already or the server has just refused it."""
        self.moved = None
        if self._expected or monotonic() < self._rests_until:
            return
        deadline = monotonic() + _DEADLINE
        if not self._connection.is_open:
            self._connection.open(deadline)
            replies = self._connection.exchange(pack("CLIENT", "ID") + self._keep.load(), 2, deadline)
            self._client = replies[0] if isinstance(replies[0], int) else 0
        self._armed_at = monotonic()
        self._connection.send(self._enroll + self._move, deadline)
        self._expected = 2

    def fileno(self) -> int:
        """For `select`; only while it is armed."""
        return self._connection.fileno()

    @property
    def is_armed(self) -> bool:
        """Whether a reply is still to come."""
        return self._expected > 0

    def take_reply(self) -> bool:
        """Read what has arrived; return whether it brought a message."""
        moved = False
        while self._expected and self._connection.has_input():
            moved |= self._read()
        return moved

    def _read(self) -> bool:
        reply = self._connection.receive(monotonic() + _DEADLINE)
        self._expected -= 1
        if isinstance(reply, ReplyError):
            self._rests_until = monotonic() + _REST
            if self._expected or is_passing(reply, self._address):
                self.close()  # without a renewed lease it must not wait; the scripts were flushed, or worse
        self.moved = reply if not self._expected and isinstance(reply, bytes) else None
        return self.moved is not None

    @property
    def is_fresh(self) -> bool:
        """Whether the lease under which this wait began is not over yet: what it brought is nobody else's."""
        return monotonic() - self._armed_at < self._trusted

    def unblock(self) -> bytes:
        """Return the packed command by which another connection ends this wait."""
        return pack("CLIENT", "UNBLOCK", self._client)

    def finish(self, *, surely: bool, given_up: bool) -> bool:
        """Take the end of the wait, which `unblock` brought; return whether a message came.

        Where the server had not seen the wait yet, the caller asks again; where it refuses, the connection goes.
        """
        if given_up:
            self.close()
            return True
        if not surely:
            self._connection.await_input(monotonic() + _UNBLOCK_PAUSE)
            return self.take_reply()
        moved = False
        while self._expected:
            moved |= self._read()
        return moved

    def close(self) -> None:
        """Give up the connection. A move that is in flight may still happen: into the inbox, under the lease."""
        self._connection.close()
        self._expected = 0


class Watches:
    """The watches of a consumer, and its wake descriptor."""

    def __init__(self, address: Address, owner: str, queues: Sequence[str], wake_fd: int | None) -> None:
        self._watches = [Watch(address, owner, queue) for queue in queues[:MOST_WATCHES]]
        self._wake_fd = wake_fd

    def arm(self) -> None:
        """Begin to wait on every watched queue."""
        for watch in self._watches:
            watch.arm()

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds`, or until a watch has ended; return whether the wake descriptor is readable."""
        poll = select.poll()
        watched = {watch.fileno(): watch for watch in self._watches if watch.is_armed}
        for descriptor in [*watched, *([self._wake_fd] if self._wake_fd is not None else [])]:
            poll.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(max(seconds, 0.0) * 1000)}
        for descriptor in ready & watched.keys():
            watched[descriptor].take_reply()
        return self._wake_fd in ready

    def moved(self) -> tuple[str, bytes] | None:
        """Return queue and message of the wait that has just ended with one, where no other wait goes on."""
        ended = [(watch.queue, watch.moved) for watch in self._watches if watch.moved is not None and watch.is_fresh]
        return ended[0] if len(ended) == 1 and not self.armed() else None

    def has_moved(self) -> bool:
        """Whether a wait has ended with a message."""
        return any(watch.moved is not None for watch in self._watches)

    def armed(self) -> list[Watch]:
        """Return the watches that wait."""
        return [watch for watch in self._watches if watch.is_armed]

    def close(self) -> None:
        """Close every connection."""
        for watch in self._watches:
            watch.close()
