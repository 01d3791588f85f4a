"""Claims and settles for one owner, one round trip a batch; with `ahead`, while the caller works.

Knows messages, and when it is time to wait; the requests and their memory are in `calls.py`. Knows nothing of tasks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from time import monotonic

from longshore.brokers.port import Claim, Owner, Settlement
from longshore.brokers.redis.address import Address
from longshore.brokers.redis.calls import DEADLINE, Calls, Group
from longshore.brokers.redis.connection import ConnectFailed, ConnectionBroken, ReplyError
from longshore.brokers.redis.envelope import decode
from longshore.brokers.redis.errors import broker_error
from longshore.brokers.redis.glance import Glance
from longshore.brokers.redis.watch import Watches
from longshore.exceptions import BrokerError, BrokerUnavailable

MOST_CLAIMS = 1000
"""Lua passes a batch as arguments of one command; its stack holds 8,000."""
AHEAD_FROM = 8
"""Fewer claims than this are not worth a request of their own beside the work."""
SOLO_SECONDS = 1.0
"""A message that may be poison is run alone at first; a worker of many slots goes on after this time."""
_SHORTEST_POLL, _LONGEST_POLL = 0.02, 0.25


class RedisConsumer:
    """The port's `Consumer`. `results_in` is the database on this server in which settlements store their results;
    `hands` the tokens of everything that the owner holds, where it has several consumers.
    """

    def __init__(
        self,
        address: Address,
        owner: Owner,
        queues: Sequence[str],
        *,
        wake_fd: int | None,
        results_in: int | None = None,
        hands: set[str] | None = None,
    ) -> None:
        self._address = address
        self._calls = Calls(address, str(owner), queues, results_in, hands)
        self._watches = Watches(address, str(owner), list(queues), wake_fd)
        self._glance = Glance(address, queues)
        self._solo: tuple[str, float] | None = None
        """The claim that may be poison, and until when nothing is claimed beside it."""
        self._poll = _SHORTEST_POLL
        self._closed = False
        self._pid = os.getpid()

    # -- the port ----------------------------------------------------------------------------------------------------

    def claim(self, limit: int, wait: float, *, ahead: bool = False) -> list[Claim]:
        """Settle what is noted and claim; wait for the first message if there is none."""
        self._check()
        ends = monotonic() + wait
        limit = max(min(limit, MOST_CLAIMS), 0)
        share = (limit + 1) // 2 if ahead and limit >= AHEAD_FROM else limit
        claims = self._fetched(limit) or self._claim(share)
        if not claims and wait > 0 and limit > 0:
            claims = self._wait(share, ends)
        if claims:
            self._poll = _SHORTEST_POLL
            self._go_on(len(claims) >= share < limit, limit - len(claims))
        return claims

    @property
    def holds_suspect(self) -> bool:
        """Whether nothing is to be claimed beside what is held."""
        return self._solo is not None and monotonic() < self._solo[1]

    def settle(self, settlement: Settlement) -> None:
        """Note a settlement."""
        token = settlement.claim.token
        self._calls.held.discard(token)
        if self._solo is not None and self._solo[0] == token:
            self._solo = None
        self._calls.noted.add(settlement)

    def acknowledge_now(self, claims: Sequence[Claim]) -> None:
        """Settle at once; raise `BrokerError` when a claim is not surely ours any more: it must not start twice."""
        self._check()
        self._calls.acknowledge(claims)
        if self._solo is not None and any(claim.token == self._solo[0] for claim in claims):
            self._solo = None

    def flush(self) -> int:
        """Carry out what is noted; return how many settlements came too late since the last time."""
        self._check()
        self._calls.give_back_ahead()
        self._calls.settle_noted()
        return self._calls.take_late()

    def abandon(self) -> None:
        """Forget what is held; the next call that works gives it back. What is noted stays noted."""
        self._calls.abandon()
        self._solo = None

    def close(self) -> None:
        """Flush, give everything back, and end.

        The lease is left to run out: until then a wait that broke may still move a message into the inbox.
        """
        if self._closed or self._pid != os.getpid():
            return
        self._watches.close()
        try:
            self._calls.give_back_ahead()
            self._calls.release()
        finally:
            self._closed = True
            self._calls.connection.close()

    def _check(self) -> None:
        if self._closed or self._pid != os.getpid():
            raise BrokerError("this consumer is closed or belongs to the parent process; ask the broker for a new one")

    # -- claiming ----------------------------------------------------------------------------------------------------

    def _claim(self, limit: int) -> list[Claim]:
        if self._solo is not None and monotonic() >= self._solo[1]:
            self._solo = None
        claims = self._claims(self._calls.run(0 if self._solo is not None else limit)[1])
        self._glance.claimed(self._calls.due_in)
        return claims

    def _fetched(self, limit: int) -> list[Claim]:
        """Return what was fetched ahead; above a limit that has shrunk since it goes back."""
        groups = self._calls.take_ahead()
        if any(group.is_suspect for group in groups):
            self._calls.settle_noted()  # it may end this process: nothing that has ended may run again with it
        claims = self._claims(groups)
        for claim in claims[limit:]:
            self._calls.held.discard(claim.token)
            self._calls.noted.give_back_unseen(claim.queue, claim.token)
        return claims[:limit]

    def _go_on(self, more: bool, limit: int) -> None:
        """Beside the work on what was just claimed, settle what is noted; claim `more` where a backlog shows."""
        calm = not self._calls.withheld and self._solo is None
        if more and calm and limit > 0:
            self._calls.send_ahead(limit)
        elif self._calls.noted:
            self._calls.send_ahead(0)

    def _claims(self, groups: Sequence[Group]) -> list[Claim]:
        claims: list[Claim] = []
        for queue, mark, tokens, envelopes in groups:
            deliveries, held_before = int(mark) if mark.isdecimal() else 0, mark != ""
            for token, envelope in zip(tokens, envelopes, strict=True):
                message, redelivered = decode(envelope)
                claims.append(Claim(queue, message, token, deliveries, redelivered or held_before))
            self._calls.held.update(tokens)
            if mark.isdecimal():
                self._solo = (claims[-1].token, monotonic() + SOLO_SECONDS)
        return claims

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _wait(self, limit: int, ends: float) -> list[Claim]:
        try:
            while True:
                if not self._calls.withheld and self._solo is None:
                    self._watches.arm()
                woken = self._watches.wait(self._pause(ends))
                claims = [] if woken else self._adopted() or (self._claim(limit) if self._shows_work() else [])
                self._poll = min(self._poll * 2, _LONGEST_POLL)
                if claims or woken or monotonic() >= ends:
                    return claims + self._disarm(0 if woken else limit - len(claims))
        except (ConnectFailed, ConnectionBroken) as trouble:
            self._watches.close()
            raise broker_error(trouble, self._address) from trouble
        except BaseException:
            self._watches.close()
            raise

    def _adopted(self) -> list[Claim]:
        """Hand out at once what the wait has moved here; the claim script is told meanwhile."""
        moved = self._watches.moved()
        if moved is None or self._calls.withheld or self._solo is not None:
            return []
        queue, envelope = moved
        token = self._calls.adopt(queue, envelope)
        if token is None:
            return []
        message, redelivered = decode(envelope)
        return [Claim(queue, message, token, 0, redelivered)]

    def _pause(self, ends: float) -> float:
        return min(self._poll, ends - monotonic(), self._glance.due_in())

    def _shows_work(self) -> bool:
        if self._watches.has_moved() or self._calls.withheld:
            return True
        try:
            replies = self._calls.exchange(self._glance.question, self._glance.replies, monotonic() + DEADLINE)
        except BrokerUnavailable:
            return True  # a claim says so, or opens the connection again
        return self._glance.shows_work(replies)

    def _disarm(self, room: int) -> list[Claim]:
        """End the waits, so that no message comes to a worker that is busy; what came in the meantime is claimed."""
        moved = False
        while armed := self._watches.armed():
            request = b"".join(watch.unblock() for watch in armed)
            replies = self._calls.exchange(request, len(armed), monotonic() + DEADLINE)
            for watch, reply in zip(armed, replies, strict=True):
                moved |= watch.finish(surely=reply == 1, given_up=isinstance(reply, ReplyError))
        return self._claim(room) if moved else []
