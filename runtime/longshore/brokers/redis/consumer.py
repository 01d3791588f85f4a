"""Claims and settles for one owner, one round trip a batch.

Holds two kinds of memory: which tokens it holds, and which settlements it has noted. After a broken connection both are
told to the server again: settlements are fenced by their token, so that a second time does nothing, and claims whose
answer was lost go back. What was noted stays noted until it is carried out. Knows nothing of tasks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from time import monotonic
from typing import Any

from longshore.brokers.port import Claim, Outgoing, Owner, Settlement
from longshore.brokers.redis.address import Address
from longshore.brokers.redis.connection import ConnectFailed, Connection, ConnectionBroken, Reply, ReplyError
from longshore.brokers.redis.envelope import decode, encode, lane
from longshore.brokers.redis.errors import broker_error, is_passing
from longshore.brokers.redis.keys import LANES
from longshore.brokers.redis.scripts import Script, is_unknown, script
from longshore.brokers.redis.watch import Watches
from longshore.exceptions import BrokerError, BrokerUnavailable

DEADLINE = 5.0
MOST_CLAIMS = 1000
"""Lua passes a batch as arguments of one command; its stack holds 8,000."""
SOLO_SECONDS = 1.0
"""A message that may be poison is run alone at first; a worker of many slots goes on after this time."""
_SHORTEST_POLL, _LONGEST_POLL = 0.02, 0.25


class RedisConsumer:
    """The port's `Consumer`."""

    def __init__(self, address: Address, owner: Owner, queues: Sequence[str], *, wake_fd: int | None) -> None:
        self._address = address
        self._owner = str(owner)
        self._queues = list(queues)
        self._nonce = os.urandom(4).hex()
        self._connection = Connection(address)
        self._watches = Watches(address, self._owner, self._queues, wake_fd)
        self._lanes = LANES[::-1] if address.celery_priorities else LANES
        self._held: set[str] = set()
        self._done: dict[str, list[str]] = {}
        self._others: list[tuple[str, str, str, list[tuple[str, str, str, float]]]] = []
        self._late = 0
        self._calls = 0
        self._uncertain = False
        """Whether what is noted may have been carried out already, with the answer lost."""
        self._recover = True
        """Whether the server may think that more is held than is known here."""
        self._due_in = -1.0
        self._withheld = False
        """A suspect waits until these hands are empty; the server gives nothing else until then."""
        self._solo: tuple[str, float] | None = None
        """The claim that may be poison, and until when nothing is claimed beside it."""
        self._poll = _SHORTEST_POLL
        self._closed = False
        self._pid = os.getpid()

    # -- the port ----------------------------------------------------------------------------------------------------

    def claim(self, limit: int, wait: float) -> list[Claim]:
        """Settle what is noted and claim; wait for the first message if there is none."""
        ends = monotonic() + wait
        claims = self._claim(limit)
        if not claims and wait > 0 and limit > 0:
            claims = self._wait(limit, ends)
        if claims:
            self._poll = _SHORTEST_POLL
        return claims

    def settle(self, settlement: Settlement) -> None:
        """Note a settlement."""
        token = settlement.claim.token
        self._held.discard(token)
        if self._solo is not None and self._solo[0] == token:
            self._solo = None
        if settlement.give_back or settlement.sends:
            how = "removed" if not settlement.give_back else "counted" if settlement.counted else "uncounted"
            self._others.append((settlement.claim.queue, token, how, [_packed(one) for one in settlement.sends]))
        else:
            self._done.setdefault(settlement.claim.queue, []).append(token)

    def acknowledge_now(self, claim: Claim) -> None:
        """Settle at once; raise `BrokerError` when the claim is not surely ours any more: it must not start twice."""
        self._settle_noted()
        self.settle(Settlement(claim))
        if self._settle_noted():
            raise BrokerError(f"the claim of a message of queue {claim.queue!r} was lost before it was acknowledged")

    def flush(self) -> int:
        """Carry out what is noted; return how many settlements came too late since the last time."""
        self._settle_noted()
        late, self._late = self._late, 0
        return late

    def abandon(self) -> None:
        """Forget what is held; the next call that works gives it back. What is noted stays noted."""
        self._held.clear()
        self._solo, self._recover = None, True

    def close(self) -> None:
        """Flush, give everything back, and end.

        The lease is left to run out: until then a wait that broke may still move a message into the inbox.
        """
        if self._closed or self._pid != os.getpid():
            return
        self._watches.close()
        try:
            self._settle_noted()
            self._connection.drop_stale()
            self._request(script("release"), monotonic() + DEADLINE, self._owner, self._queues, [])
        finally:
            self._closed = True
            self._connection.close()

    # -- claiming ----------------------------------------------------------------------------------------------------

    def _claim(self, limit: int) -> list[Claim]:
        if self._solo is not None and monotonic() >= self._solo[1]:
            self._solo = None
        return self._claims(self._run(0 if self._solo is not None else max(min(limit, MOST_CLAIMS), 0))[1])

    def _settle_noted(self) -> int:
        return self._run(0)[0] if self._done or self._others else 0

    def _run(self, limit: int) -> tuple[int, list[list[Any]]]:
        """Run the claim script; return how many settlements were refused, and the claims. With limit 0 it settles only.

        A connection that broke while it was idle is replaced without a word.
        """
        if self._closed or self._pid != os.getpid():
            raise BrokerError("this consumer is closed or belongs to the parent process; ask the broker for a new one")
        deadline = monotonic() + DEADLINE
        was_open = self._connection.is_open
        try:
            answer = self._attempt(limit, deadline)
        except BrokerUnavailable:
            self._uncertain = bool(self._done or self._others)
            if not was_open or monotonic() >= deadline:
                raise
            answer = self._attempt(limit, deadline)
        late, due_in, withheld, groups = answer
        self._late += 0 if self._uncertain else late
        self._done, self._others, self._uncertain, self._recover = {}, [], False, False
        self._due_in, self._withheld = float(due_in), bool(withheld)
        return late, groups

    def _attempt(self, limit: int, deadline: float) -> Reply:
        self._calls += 1
        self._connection.drop_stale()
        return self._request(
            script("claim"),
            deadline,
            self._owner,
            self._address.lease_seconds,
            self._lanes,
            self._rotated(),
            str(self._calls),
            self._nonce,
            limit,
            not self._held,
            [
                (queue, tokens[at : at + MOST_CLAIMS])
                for queue, tokens in self._done.items()
                for at in range(0, len(tokens), MOST_CLAIMS)
            ],
            self._others,
            list(self._held) if self._recover or not self._connection.is_open else False,
        )

    def _rotated(self) -> list[str]:
        turn = self._calls % len(self._queues)
        return self._queues[turn:] + self._queues[:turn]

    def _claims(self, groups: list[list[Any]]) -> list[Claim]:
        claims: list[Claim] = []
        for queue_name, step, mark_bytes, first, *envelopes in groups:
            queue, mark = queue_name.decode(), mark_bytes.decode()
            deliveries, held_before = int(mark) if mark.isdecimal() else 0, mark != ""
            tail = f".{step.decode()}.{mark}.{self._nonce}"
            for index, envelope in enumerate(envelopes, first):
                token = f"{self._calls}.{index}{tail}"
                message, redelivered = decode(envelope)
                claims.append(Claim(queue, message, token, deliveries, redelivered or held_before))
                self._held.add(token)
            if mark.isdecimal():
                self._solo = (claims[-1].token, monotonic() + SOLO_SECONDS)
        return claims

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _wait(self, limit: int, ends: float) -> list[Claim]:
        try:
            while True:
                if not self._withheld and self._solo is None:
                    self._watches.arm()
                woken = self._watches.wait(self._pause(ends))
                claims = [] if woken else self._claim(limit)
                self._poll = min(self._poll * 2, _LONGEST_POLL)
                if claims or woken or monotonic() >= ends:
                    return claims + self._disarm(0 if woken else limit - len(claims))
        except (ConnectFailed, ConnectionBroken) as trouble:
            self._watches.close()
            raise broker_error(trouble, self._address) from trouble
        except BaseException:
            self._watches.close()
            raise

    def _pause(self, ends: float) -> float:
        pause = min(self._poll, ends - monotonic())
        return min(pause, self._due_in) if self._due_in >= 0 else pause

    def _disarm(self, room: int) -> list[Claim]:
        """End the waits, so that no message comes to a worker that is busy; what came in the meantime is claimed."""
        moved = False
        while armed := self._watches.armed():
            replies = self._exchange(b"".join(watch.unblock() for watch in armed), len(armed), monotonic() + DEADLINE)
            for watch, reply in zip(armed, replies, strict=True):
                moved |= watch.finish(surely=reply == 1, given_up=isinstance(reply, ReplyError))
        return self._claim(room) if moved else []

    # -- speaking with the server ------------------------------------------------------------------------------------

    def _request(self, called: Script, deadline: float, *arguments: Any) -> Reply:
        data = called.call(*arguments)
        reply = self._exchange(data, 1, deadline)[0]
        if is_unknown(reply):
            reply = self._exchange(called.load() + data, 2, deadline)[1]
        if isinstance(reply, ReplyError):
            if is_passing(reply):
                self._connection.close()  # after a fail-over the name leads somewhere else
            raise broker_error(reply, self._address)
        return reply

    def _exchange(self, data: bytes, replies: int, deadline: float) -> list[Reply]:
        try:
            if not self._connection.is_open:
                self._connection.open(deadline)
            return self._connection.exchange(data, replies, deadline)
        except (ConnectFailed, ConnectionBroken) as trouble:
            raise broker_error(trouble, self._address) from trouble


def _packed(outgoing: Outgoing) -> tuple[str, str, str, float]:
    """Return a message as the scripts take it: queue, priority step, envelope, when due (0 for now)."""
    envelope = encode(outgoing.queue, outgoing.message, outgoing.due_at).decode()
    return outgoing.queue, lane(outgoing.message), envelope, outgoing.due_at or 0
