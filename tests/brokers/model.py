"""A model of any broker: whatever happens, in whatever order, no message is lost and none is in two places.

    class SQLiteModel(BrokerModel):
        def connect(self) -> Broker: ...
        def disconnect(self) -> None: ...

    TestSQLiteModel = SQLiteModel.TestCase

The law, after every step: sent = settled + dropped + ready + leased + delayed (dead letters are messages of another
queue). Times are not modelled: a delayed message is due in some milliseconds or not within the test.
"""

from __future__ import annotations

import itertools
import time
import uuid
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from longshore.brokers.port import Broker, Claim, Consumer, Outgoing, Owner, QueueDepth, QueueSpec, Settlement, Started

from .contract import message

SOON = 0.02
FAR = 3600.0
SLOTS = (0, 1, 2)


@dataclass
class Known:
    """What must be true of one message."""

    queue: str
    due_at: float | None = None
    deliveries: int = 0
    redelivered: bool = False


@dataclass
class Holder:
    """One owner with its consumer and what it holds."""

    owner: Owner
    consumer: Consumer
    held: dict[str, Claim] = field(default_factory=dict)


class BrokerModel(RuleBasedStateMachine):
    """Rules are what clients, workers and supervisors do."""

    broker: Broker
    ahead = False
    """Whether claims fetch a part of their limit ahead."""

    def connect(self) -> Broker:
        """Return a broker on an empty server."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Remove what `connect` made."""

    @initialize()
    def begin(self) -> None:
        run = uuid.uuid4().hex[:8]
        self.broker = self.connect()
        self.queues = (f"a-{run}", f"b-{run}")
        self.dead = f"dead-{run}"
        self.broker.declare([QueueSpec(name) for name in (*self.queues, self.dead)])
        self.worker = f"worker-{run}"
        self.names = (f"{n}-{run}" for n in itertools.count())
        self.inside: dict[str, Known] = {}
        self.sent = self.gone = 0
        self.holders = {slot: self.start(slot) for slot in SLOTS}

    # -- clients -----------------------------------------------------------------------------------------------------

    @rule(queue=st.integers(0, 1), count=st.integers(1, 5), delay=st.sampled_from([None, None, -5.0, SOON, FAR]))
    def send(self, queue: int, count: int, delay: float | None) -> None:
        delay = delay if self.broker.capabilities.delayed else None
        due = None if delay is None else time.time() + delay
        self.broker.send([self.outgoing(self.queues[queue], due) for _ in range(count)])

    @rule()
    def let_it_become_due(self) -> None:
        """Without a precondition: what is still delayed depends on the clock, and a rule that may run must not."""
        time.sleep(max(0.0, max(self.soon(), default=0.0) - time.time() + 0.002))
        self.broker.sweep(self.queues)

    @rule(queue=st.integers(0, 1))
    def purge(self, queue: int) -> None:
        name, held = self.queues[queue], self.all_held()
        dropped = [key for key, known in self.inside.items() if known.queue == name and key not in held]
        assert self.broker.purge(name) == len(dropped)
        self.forget(*dropped)

    # -- workers -----------------------------------------------------------------------------------------------------

    @rule(slot=st.sampled_from(SLOTS), limit=st.integers(1, 4))
    def claim(self, slot: int, limit: int) -> None:
        held, holder = self.all_held(), self.holders[slot]
        claims = holder.consumer.claim(limit, 0.0, ahead=self.ahead)
        assert len(claims) <= limit
        for claim in claims:
            key = self.check(claim)
            assert key not in held, f"{key} is held by two"
            holder.held[key] = claim
        if any(claim.deliveries for claim in claims):
            assert len(claims) == 1, "what was started before is claimed alone"

    @rule(slot=st.sampled_from(SLOTS), how=st.sampled_from(["done", "retry", "dead", "early"]), flush=st.booleans())
    def settle(self, slot: int, how: str, flush: bool) -> None:
        holder = self.holders[slot]
        if not holder.held:
            return
        key, claim = holder.held.popitem()
        if how == "early":
            holder.consumer.acknowledge_now([claim])
        else:
            holder.consumer.settle(Settlement(claim, sends=self.sends_of(how, claim)))
        self.forget(key)
        if flush:
            assert holder.consumer.flush() == 0

    @rule(slot=st.sampled_from(SLOTS), counted=st.booleans())
    def give_back(self, slot: int, counted: bool) -> None:
        holder = self.holders[slot]
        if not holder.held:
            return
        key, claim = holder.held.popitem()
        holder.consumer.settle(Settlement(claim, give_back=True, counted=counted))
        self.returned(key, counted)

    @rule(slot=st.sampled_from(SLOTS))
    def abandon(self, slot: int) -> None:
        """What a worker does after an error of the broker."""
        holder = self.holders[slot]
        holder.consumer.abandon()
        for key in holder.held:
            self.returned(key, False)
        holder.held.clear()

    @rule(slot=st.sampled_from(SLOTS))
    def drain(self, slot: int) -> None:
        holder = self.holders[slot]
        holder.consumer.close()
        for key in holder.held:
            self.returned(key, False)
        self.holders[slot] = self.start(slot)

    # -- supervisors -------------------------------------------------------------------------------------------------

    @rule(slot=st.sampled_from(SLOTS), index=st.integers(0, 3))
    def child_dies(self, slot: int, index: int) -> None:
        """The port lets a child die with settlements unsent: here all had left, so that the model knows the state."""
        holder = self.holders[slot]
        holder.consumer.flush()
        started = list(holder.held)[index : index + 1]
        self.broker.release_owner(holder.owner, self.queues, [Started(key) for key in started])
        for key in holder.held:
            self.returned(key, key in started)
        self.holders[slot] = self.start(slot)

    @rule()
    def sweep(self) -> None:
        self.broker.keep_claims(self.worker, SLOTS, self.queues)
        self.broker.sweep(self.queues)

    # -- the law -----------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert self.sent == self.gone + len(self.inside)
        for holder in self.holders.values():
            assert holder.consumer.flush() == 0
        depths = self.broker.depths([*self.queues, self.dead])
        capable = self.broker.capabilities
        if capable.counts_leased and capable.counts_delayed:
            assert sum(map(total, depths.values())) == len(self.inside)
            assert sum(depth.leased or 0 for depth in depths.values() if depth) == len(self.all_held())

    def teardown(self) -> None:
        if not hasattr(self, "broker"):
            return
        try:
            for holder in self.holders.values():
                holder.consumer.close()
                for key in holder.held:
                    self.returned(key, False)
            self.collect_the_rest()
        finally:
            self.broker.close()
            self.disconnect()

    def collect_the_rest(self) -> None:
        """Everything that should be there comes, once, and nothing else."""
        consumer = self.broker.consumer(Owner(self.worker, 9), [*self.queues, self.dead])
        limit = time.time() + 60
        waiting = {key for key, known in self.inside.items() if known.due_at is None or known.due_at < limit}
        while waiting:
            claims = consumer.claim(10, 5.0)
            assert claims, f"lost: {sorted(waiting)}"
            for claim in claims:
                waiting.remove(self.check(claim))
                consumer.settle(Settlement(claim))
        assert consumer.claim(10, 0.0) == []
        consumer.close()

    # -- helpers -----------------------------------------------------------------------------------------------------

    def start(self, slot: int) -> Holder:
        owner = Owner(f"{self.worker}-{uuid.uuid4().hex[:6]}", slot)
        return Holder(owner, self.broker.consumer(owner, self.queues))

    def outgoing(self, queue: str, due_at: float | None = None) -> Outgoing:
        key = next(self.names)
        self.inside[key] = Known(queue, due_at)
        self.sent += 1
        return Outgoing(queue, message(key), due_at)

    def sends_of(self, how: str, claim: Claim) -> tuple[Outgoing, ...]:
        if how == "retry":
            return (self.outgoing(claim.queue),)
        return (self.outgoing(self.dead),) if how == "dead" else ()

    def check(self, claim: Claim) -> str:
        """What is claimed is known, due, and has the history that it should have."""
        key = str(claim.message.id)
        known = self.inside[key]
        assert known.due_at is None or known.due_at <= time.time() + 0.001
        assert (claim.queue, claim.deliveries, claim.redelivered) == (known.queue, known.deliveries, known.redelivered)
        return key

    def returned(self, key: str, counted: bool) -> None:
        known = self.inside[key]
        known.redelivered, known.due_at = True, None
        known.deliveries += counted

    def forget(self, *keys: str) -> None:
        for key in keys:
            del self.inside[key]
        self.gone += len(keys)

    def all_held(self) -> set[str]:
        return {key for holder in self.holders.values() for key in holder.held}

    def soon(self) -> list[float]:
        limit = time.time() + 60
        return [known.due_at for known in self.inside.values() if known.due_at is not None and known.due_at < limit]


def total(depth: QueueDepth | None) -> int:
    if depth is None:
        return 0
    return (depth.ready or 0) + (depth.leased or 0) + (depth.delayed or 0)
