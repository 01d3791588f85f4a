"""How claims end: what a settlement sends is confirmed, then its claim is acknowledged, or goes back.

A claim's token carries the generation of its connection: a settlement of an older one is too late, and so is nothing
that it would send. What cannot be sent stays noted, and its claim stays held.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from longshore.brokers.port import Claim, Outgoing, Settlement
from longshore.brokers.rabbitmq.errors import ChannelClosed, ConnectionLost
from longshore.brokers.rabbitmq.intake import Intake
from longshore.brokers.rabbitmq.session import CALL_SECONDS, Session
from longshore.brokers.rabbitmq.starts import Starts, notes_queue
from longshore.brokers.rabbitmq.unstarted import Unstarted
from longshore.exceptions import BrokerError, BrokerUnavailable
from longshore.message import Message

logger = logging.getLogger(__name__)
LONG_SECONDS = 1.0
Send = Callable[[Sequence[Outgoing]], None]


class Held:
    """The token of a claim: one delivery of one connection."""

    __slots__ = ("alone", "generation", "message", "notes", "open", "queue", "sentenced", "tag", "taken_at")

    def __init__(self, generation: int, tag: int, notes: str | None, queue: str, message: Message) -> None:
        self.generation = generation
        self.tag = tag
        self.queue = queue
        self.message = message
        self.taken_at = time.monotonic()
        self.alone = False
        """Handed out by itself, so that it surely runs; of several only the oldest does."""
        self.sentenced = False
        self.notes = notes
        """The queue of notes in which the start of this claim is counted."""
        self.open = True


class Settling:
    """What one consumer holds, and what is noted to end it."""

    def __init__(self, session: Session, send: Send, starts: Starts, unstarted: Unstarted) -> None:
        self._session = session
        self._send = send
        self._starts = starts
        self._unstarted = unstarted
        self._held: dict[int, Held] = {}
        self._noted: list[Settlement] = []
        self._given_up: list[Held] = []
        self._late = 0

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, tag: int, notes: str | None, queue: str, message: Message) -> Held:
        """Note a claim that is handed out."""
        held = self._held[tag] = Held(self._session.generation, tag, notes, queue, message)
        return held

    @property
    def oldest(self) -> float | None:
        """When the oldest claim was handed out that is held and not sentenced yet."""
        return next((held.taken_at for held in self._held.values() if not held.sentenced), None)

    def running_since(self, moment: float, *, ended: bool = False) -> list[Held]:
        """Return what has run since before a moment, as far as can be told, and is not sentenced yet."""
        noted = {id(each.claim.token) for each in self._noted}
        old = [held for held in self._held.values() if held.taken_at <= moment]
        first = next((held for held in old if id(held) not in noted), None)
        running = [held for held in old if (ended if id(held) in noted else held.alone or held is first)]
        return [held for held in running if not held.sentenced]

    def note(self, settlement: Settlement) -> None:
        """Note how a claim ends."""
        self._noted.append(settlement)

    def abandon(self) -> None:
        """Give up what is held and not noted."""
        noted = {id(each.claim.token) for each in self._noted}
        for held in [each for each in self._held.values() if id(each) not in noted]:
            self._release(held)
            self._given_up.append(held)

    def take_late(self) -> int:
        """Return how many settlements came too late since the last time."""
        late, self._late = self._late, 0
        return late

    def forget(self) -> None:
        """The connection is gone, and all claims with it."""
        self._held.clear()
        self._given_up.clear()
        self._unstarted.clear()

    def carry_out(self) -> None:
        """Do what is noted: give back, send, acknowledge."""
        live = [each for each in self._noted if self._valid(each.claim.token)]
        self._late += len(self._noted) - len(live)
        self._noted = live
        intake = self._session.intake
        if intake is None or not (live or self._given_up):
            return
        try:
            self._look(intake, live)
            self._return_given_up(intake)
            self._send_all(intake, live)
            self._count_give_backs(live)
            self._noted = []
            self._acknowledge(intake, live)
        except (ConnectionLost, ChannelClosed):
            if intake.usable:
                raise
            self._late += len(live)
            self._noted = []
            self._session.lose()

    def acknowledge_now(self, claims: Sequence[Held]) -> None:
        """Acknowledge claims, all or none, and return when the broker has done it: one barrier for all of them."""
        intake = self._session.intake
        if intake is None or not all(self._valid(held) for held in claims):
            raise BrokerUnavailable("the claim was lost with its connection; the message goes to another worker")
        deadline = time.monotonic() + CALL_SECONDS
        for held in claims:
            self._release(held)
            intake.unacked.settled(held.tag)
        try:
            intake.channel.write(intake.acks(), deadline)
            intake.fence.barrier(deadline)
        except (ConnectionLost, ChannelClosed) as error:
            self._session.lose()
            raise BrokerUnavailable(f"the claim was lost with its connection: {error}") from None
        self._forget_notes(claims)

    def withdraw_notes(self) -> None:
        """What is held goes back, and its starts did not happen."""
        for held in self._held.values():
            self._withdraw(held)

    def _look(self, intake: Intake, settlements: Sequence[Settlement]) -> None:
        """Before what ran long is settled: the broker may have taken it back meanwhile."""
        tokens: list[Held] = [each.claim.token for each in settlements]
        if tokens and time.monotonic() - min(held.taken_at for held in tokens) > LONG_SECONDS:
            intake.fence.hear()
        if any(held.sentenced for held in tokens):
            intake.fence.barrier(time.monotonic() + CALL_SECONDS)

    def _send_all(self, intake: Intake, settlements: Sequence[Settlement]) -> None:
        """What is sent cannot be called back: the claims behind it must still be ours."""
        sends = [outgoing for each in settlements for outgoing in each.sends]
        if sends:
            intake.fence.ensure(time.monotonic() + CALL_SECONDS)
            self._send(sends)

    def _return_given_up(self, intake: Intake) -> None:
        """In the order in which it came: a quorum queue puts what returns at its end."""
        if self._given_up:
            intake.rest(time.monotonic() + CALL_SECONDS)
        while self._given_up:
            held = self._given_up[0]
            self._withdraw(held)
            intake.channel.write(intake.requeue(held.tag), time.monotonic() + CALL_SECONDS)
            self._given_up.pop(0)

    def _count_give_backs(self, settlements: Sequence[Settlement]) -> None:
        for each in settlements:
            held: Held = each.claim.token
            if each.give_back and not each.counted:
                self._count_unstarted(each.claim, held)
            elif each.give_back and held.notes is None:
                notes = notes_queue(each.claim.queue, each.claim.message)
                self._starts.note(notes)
                held.notes = notes

    def _count_unstarted(self, claim: Claim, held: Held) -> None:
        """A start that was noted did not happen; where none was noted, the message is known to be unstarted."""
        if held.notes is None:
            self._unstarted.record(claim.message.id)
        if held.sentenced:
            self._forget_notes([held])
            held.notes = None
        self._withdraw(held)

    def _acknowledge(self, intake: Intake, settlements: Sequence[Settlement]) -> None:
        """Who gives back wants no more for now: else the broker would push the same messages here again."""
        if any(each.give_back for each in settlements):
            intake.rest(time.monotonic() + CALL_SECONDS)
        given_back: list[bytes] = []
        settled: list[Held] = []
        for each in settlements:
            held: Held = each.claim.token
            self._release(held)
            if each.give_back:
                given_back.append(intake.requeue(held.tag))
            else:
                intake.unacked.settled(held.tag)
                settled.append(held)
        frames = b"".join(given_back) + intake.acks()  # in this order: acknowledging "all up to" one means these too
        intake.channel.write(frames, time.monotonic() + CALL_SECONDS)
        self._forget_notes(settled)

    def _withdraw(self, held: Held) -> None:
        if held.notes is not None:
            self._starts.withdraw(held.notes)
            held.notes = None

    def _forget_notes(self, settled: Sequence[Held]) -> None:
        notes = [held.notes for held in settled if held.notes is not None]
        if notes:
            try:
                self._starts.forget(notes)
            except BrokerError as error:
                logger.debug("notes of starts are left to expire: %s", error)

    def _valid(self, held: Held) -> bool:
        return held.open and held.generation == self._session.generation and self._session.intake is not None

    def _release(self, held: Held) -> None:
        held.open = False
        self._held.pop(held.tag, None)
