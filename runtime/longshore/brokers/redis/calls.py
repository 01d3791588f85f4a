"""The conversation of one consumer with the server: what is noted leaves with a request that claims, and one request
may be under way while the caller works.

Remembers which tokens are held and what is noted. After a broken connection both are told to the server again:
settlements are fenced by their token, so that a second time does nothing, and claims whose answer was lost go back.
What was noted stays noted until it is carried out. Knows tokens and packed claims; what a message is it does not.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

from longshore.brokers.port import Claim
from longshore.brokers.redis.address import Address
from longshore.brokers.redis.connection import ConnectFailed, Connection, ConnectionBroken, Reply, ReplyError
from longshore.brokers.redis.errors import broker_error, is_passing
from longshore.brokers.redis.keys import LANES
from longshore.brokers.redis.noted import Noted
from longshore.brokers.redis.scripts import Script, is_unknown, script
from longshore.exceptions import BrokerError, BrokerUnavailable

DEADLINE = 5.0


class Group(NamedTuple):
    """Claims of one queue, step and mark, as they came with one answer."""

    queue: str
    mark: str
    """'' for what nobody has held, 'r' for what was given back, a number of started executions for a suspect."""
    tokens: list[str]
    envelopes: list[bytes]

    @property
    def is_suspect(self) -> bool:
        """Whether it may be poison; then it is alone."""
        return self.mark.isdecimal()


class Calls:
    """The requests of one owner over one connection, in order."""

    def __init__(
        self, address: Address, owner: str, queues: Sequence[str], results_in: int | None, hands: set[str] | None = None
    ) -> None:
        self.owner = owner
        self.connection = Connection(address)
        self.held: set[str] = set() if hands is None else hands
        """Tokens of what the caller holds, perhaps from other queues, by other conversations, too."""
        self.noted = Noted()
        self.due_in = -1.0
        """Seconds until the next delayed message is due, as of the last answer; below 0 for none."""
        self.withheld = False
        """A suspect waits until these hands are empty; the server gives nothing else until then."""
        self._address = address
        self._queues = list(queues)
        self._lanes = LANES[::-1] if address.celery_priorities else LANES
        self._results_in = False if results_in in (None, address.database) else (results_in, address.database)
        self._nonce = os.urandom(4).hex()
        self._number = 0
        self._late = 0
        self._under_way: tuple[int, Noted] | None = None
        self._fetched: list[Group] = []
        """What came with a request that was sent ahead, until it is handed out."""
        self._recover = True
        """Whether the server may think that more is held than is known here."""
        self._abandoned = False
        """Whether it surely does."""

    # -- claiming and settling ---------------------------------------------------------------------------------------

    def run(self, limit: int) -> tuple[int, list[Group]]:
        """Run the claim script; return how many settlements were refused, and the claims. With limit 0 it settles only.

        A connection that broke while it was idle is replaced without a word.
        """
        with suppress(ConnectionBroken):
            self._read_under_way()
        deadline = monotonic() + DEADLINE
        was_open = self.connection.is_open
        try:
            return self._attempt(limit, deadline)
        except BrokerUnavailable:
            if not was_open or monotonic() >= deadline:
                raise
            return self._attempt(limit, deadline)

    def settle_noted(self) -> int:
        """Carry out what is noted, and give back what was abandoned; return how many settlements were refused."""
        return self.run(0)[0] if self.noted or self._under_way or self._abandoned else 0

    def take_late(self) -> int:
        """Return how many settlements came too late since the last time."""
        late, self._late = self._late, 0
        return late

    def _attempt(self, limit: int, deadline: float) -> tuple[int, list[Group]]:
        self.connection.drop_stale()
        number, noted, data = self._claim_request(limit)
        try:
            reply = self._request(self._script("claim"), data, deadline)
        except BrokerUnavailable:
            noted.uncertain = bool(noted)
            raise
        self.noted, self._recover, self._abandoned = Noted(), False, False
        return self._read_answer(number, noted, reply)

    def _claim_request(self, limit: int) -> tuple[int, Noted, bytes]:
        self._number += 1
        recover = self._recover or not self.connection.is_open
        if recover:
            self._fetched.clear()
        done, stored, others = self.noted.packed()
        arguments = (
            self.owner,
            self._address.lease_seconds,
            self._lanes,
            self._rotated(),
            str(self._number),
            self._nonce,
            limit,
            not self.held and not self._fetched,
            done,
            others,
            list(self.held) if recover else False,
            stored,
            self._results_in,
            self.noted.adopted,
        )
        return self._number, self.noted, self._script("claim").call(*arguments)

    def _rotated(self) -> list[str]:
        turn = self._number % len(self._queues)
        return self._queues[turn:] + self._queues[:turn]

    def _read_answer(self, number: int, noted: Noted, answer: list[Any]) -> tuple[int, list[Group]]:
        late, due_in, withheld, groups = answer
        self._late += 0 if noted.uncertain else late
        self.due_in, self.withheld = float(due_in), bool(withheld)
        return late, [self._group(number, *group) for group in groups]

    def _group(self, number: int, queue: bytes, step: bytes, mark: bytes, first: int, *envelopes: bytes) -> Group:
        tail = f".{step.decode()}.{mark.decode()}.{self._nonce}"
        tokens = [f"{number}.{index}{tail}" for index in range(first, first + len(envelopes))]
        return Group(queue.decode(), mark.decode(), tokens, list(envelopes))

    # -- ahead -------------------------------------------------------------------------------------------------------

    def send_ahead(self, limit: int) -> None:
        """Send a request that carries out what is noted and claims; its answer is read later. Never raises.

        What fails here shows with the next call.
        """
        if self._recover or not self.connection.is_open or self._under_way is not None:
            return
        number, noted, data = self._claim_request(limit)
        self.noted = Noted()
        self._under_way = number, noted
        try:
            self.connection.send(data, monotonic() + DEADLINE)
        except ConnectionBroken:
            self._take_back()

    def adopt(self, queue: str, envelope: bytes) -> str | None:
        """Make a claim of what a wait has moved here, without waiting for the answer; return its token.

        The request is on its way before the caller has the message, so that whatever it sends later finds the claim.
        Return `None` where this is not the time for it.
        """
        if self._recover or not self.connection.is_open or self._under_way is not None or self._fetched:
            return None
        try:
            text = envelope.decode()
        except UnicodeDecodeError:
            return None
        token = f"{self._number + 1}.0.0..{self._nonce}"
        self.noted.adopted.append((queue, token, text))
        self.held.add(token)
        self.send_ahead(0)
        return token

    def take_ahead(self) -> list[Group]:
        """Return what was fetched ahead. After trouble it is nothing: that goes back with the next request."""
        with suppress(ConnectionBroken):
            self._read_under_way()
        fetched, self._fetched = self._fetched, []
        return [] if self._recover or not self.connection.is_open else fetched

    def give_back_ahead(self) -> None:
        """Note that what was fetched ahead goes back; where that answer is lost it goes back at once."""
        was_ahead = self._under_way is not None or bool(self._fetched)
        for group in self.take_ahead():
            for token in group.tokens:
                self.noted.give_back_unseen(group.queue, token)
        if was_ahead and (self._recover or not self.connection.is_open):
            self.run(0)

    def _read_under_way(self) -> None:
        if self._under_way is None:
            return
        try:
            reply = self.connection.receive(monotonic() + DEADLINE)
        except ConnectionBroken:
            self._take_back()
            raise
        (number, noted), self._under_way = self._under_way, None
        if isinstance(reply, ReplyError):
            self.noted = self.noted.behind(noted)
            self._recover = True
            if not is_unknown(reply):
                self.connection.close()  # another answer may be on its way
                raise broker_error(reply, self._address)
        else:
            self._fetched += self._read_answer(number, noted, reply)[1]

    def _take_back(self) -> None:
        """The answer is lost: it may have been carried out or not."""
        if self._under_way is not None:
            noted = self._under_way[1]
            noted.uncertain = bool(noted)
            self._under_way, self.noted = None, self.noted.behind(noted)

    # -- before the start --------------------------------------------------------------------------------------------

    def acknowledge(self, claims: Sequence[Claim]) -> None:
        """Remove claims, all or none, and return when it is done; raise `BrokerError` when one is not surely ours."""
        if self.noted:
            self.settle_noted()
        data = self._script("acknowledge").call(self.owner, _by_queue(claims))
        deadline = monotonic() + DEADLINE
        was_open = self.connection.is_open
        try:
            lost = self._request(self._script("acknowledge"), data, deadline)
        except BrokerUnavailable:
            if not was_open or monotonic() >= deadline:
                raise
            lost = self._request(self._script("acknowledge"), data, deadline)
        if lost:
            raise BrokerError(
                f"the claim of a message of queue {claims[0].queue!r} was lost before it was acknowledged"
            )
        self.held.difference_update(claim.token for claim in claims)

    # -- the end -----------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Forget what is held; the next call that works gives it back. What is noted stays noted."""
        self._abandoned = self._abandoned or bool(self.held or self._fetched or self._under_way)
        self.held.clear()
        self._fetched.clear()
        self._recover = True

    def release(self) -> None:
        """Carry out what is noted, then give everything back."""
        if self.noted or self._under_way:
            self.run(0)
        self.connection.drop_stale()
        called = self._script("release")
        self._request(called, called.call(self.owner, self._queues, []), monotonic() + DEADLINE)

    # -- speaking with the server ------------------------------------------------------------------------------------

    def _script(self, name: str) -> Script:
        return script(name, self._address.is_cluster)

    def _request(self, called: Script, data: bytes, deadline: float) -> Reply:
        reply = self.exchange(data, 1, deadline)[0]
        if is_unknown(reply):
            reply = self.exchange(called.load() + data, 2, deadline)[1]
        if isinstance(reply, ReplyError):
            raise self._refusal(reply)
        return reply

    def _refusal(self, reply: ReplyError) -> BrokerError:
        if is_passing(reply, self._address):
            self.connection.close()  # after a fail-over the name leads somewhere else
        return broker_error(reply, self._address)

    def exchange(self, data: bytes, replies: int, deadline: float) -> list[Reply]:
        """Send packed commands and return their replies; the answer to what is under way comes before them."""
        try:
            if not self.connection.is_open:
                self._recover = True
                self.connection.open(deadline)
            self.connection.send(data, deadline)
            self._read_under_way()
            return [self.connection.receive(deadline) for _ in range(replies)]
        except (ConnectFailed, ConnectionBroken) as trouble:
            self._take_back()
            raise broker_error(trouble, self._address) from trouble


def _by_queue(claims: Sequence[Claim]) -> list[tuple[str, list[str]]]:
    tokens: dict[str, list[str]] = {}
    for claim in claims:
        tokens.setdefault(claim.queue, []).append(claim.token)
    return list(tokens.items())
