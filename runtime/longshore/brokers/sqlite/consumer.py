"""Claims and settles for one owner: what is settled leaves in the transaction of the next claim.

One thread uses it. What it holds is written in the file under its owner's number, so that nothing is lost with it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from longshore.brokers.port import Claim, Owner, Settlement
from longshore.brokers.sqlite import ledger, owners
from longshore.brokers.sqlite.claiming import Claimed, Claimer
from longshore.brokers.sqlite.codec import decode_message
from longshore.brokers.sqlite.database import Database
from longshore.brokers.sqlite.idle import Idle
from longshore.brokers.sqlite.owners import Peers
from longshore.brokers.sqlite.queues import QueueNumbers
from longshore.exceptions import BrokerError
from longshore.results.rows import ENDED, bell_name, to_row

SETTLE_SECONDS = 0.005
SETTLE_AT_ONCE = 100
PROMOTE_SECONDS = 0.02
PEERS_SECONDS = 0.05
SWEEP_SECONDS = 1.0
SWEEP_SECONDS_AFTER_CHANGE = 0.2
"""An idle consumer looks for new peers soon: who is not known yet cannot be watched."""


@dataclass(slots=True)
class Pending:
    """Settlements that have not left yet; the plain ones, almost all, as (id, owner)."""

    plain: list[tuple[int, int]] = field(default_factory=list)
    endings: list[ledger.Ending] = field(default_factory=list)
    results: list[tuple[Any, ...]] = field(default_factory=list)
    bells: list[str] = field(default_factory=list)
    """Of results that somebody may wait for."""
    since: float = 0.0

    def __len__(self) -> int:
        return len(self.plain) + len(self.endings)


class SQLiteConsumer:
    """The port's Consumer on one file."""

    def __init__(
        self, database: Database, numbers: QueueNumbers, owner: Owner, queues: Sequence[str], wake_fd: int | None
    ) -> None:
        self._database = database
        self._numbers = numbers
        self._owner = owner
        self._names = tuple(queues)
        self._wake_fd = wake_fd
        self._pid = os.getpid()
        self._number = 0
        self._held: dict[int, Claim] = {}
        self._pending = Pending()
        self._late = 0
        self._promote_at = self._sweep_at = self._swept_at = self._peers_at = 0.0
        self._exhausted = True
        self._closed = False

    def claim(self, limit: int, wait: float, *, ahead: bool = False) -> list[Claim]:  # noqa: ARG002 - it is all in one transaction
        """Send what is settled, then claim; see the port."""
        self._start()
        claims = self._try(limit)
        if claims or wait <= 0:
            return claims
        return self._wait(limit, time.monotonic() + wait)

    def settle(self, settlement: Settlement) -> None:
        """Note a settlement. Notes that wait for some milliseconds already leave with this one."""
        self._check_process()
        claim = settlement.claim
        if self._held.get(claim.token) is not claim:
            self._late += 1
            return
        pending = self._pending
        if settlement.result is not None:
            self._note_result(settlement)
        if settlement.sends or settlement.give_back:
            pending.endings.append(self._ending(settlement))
        else:
            pending.plain.append((claim.token, self._number))
        del self._held[claim.token]
        now = time.monotonic()
        if len(pending) == 1:
            pending.since = now
        elif now - pending.since > SETTLE_SECONDS or len(pending) >= SETTLE_AT_ONCE:
            self._send_pending()

    def acknowledge_now(self, claims: Sequence[Claim]) -> None:
        """Settle before the start, in one transaction; raise `BrokerError` when one is another's by now.

        All or none: what one owner holds is taken over together.
        """
        self._send_pending()
        late = self._late
        self._check_held(claims)
        for claim in claims:
            self._pending.plain.append((claim.token, self._number))
            del self._held[claim.token]
        try:
            self._send_pending()
        except BrokerError:
            self._take_back(claims)
            raise
        if self._late > late:
            raise _lost(claims[0])

    def flush(self) -> int:
        """Carry out what is noted; return how many settlements came too late since the last flush."""
        self._check_process()
        self._send_pending()
        late, self._late = self._late, 0
        return late

    def abandon(self) -> None:
        """Give up what is held; it goes back with the next call that works."""
        for row, claim in self._held.items():
            self._pending.endings.append(
                ledger.Ending(row, self._number, give_back=True, queue=self._numbered[claim.queue])
            )
        self._held.clear()

    def close(self) -> None:
        """Flush, give back what is held, and end. In a forked child nothing happens: the claims are the parent's."""
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        if not self._number:
            return
        try:
            self._send_pending()
            self._database.ring_queues(owners.retire(self._database, self._number))
        finally:
            self._held.clear()
            self._idle.close()
            self._peers.close()

    # -- claiming ----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._check_process()
        if self._number:
            return
        if self._closed:
            raise BrokerError("this consumer is closed; ask the broker for a new one")
        queues = self._numbers.of_all(self._names)
        self._number = owners.register(self._database, self._owner)
        self._queues = dict(zip(queues, self._names, strict=True))
        self._numbered = dict(zip(self._names, queues, strict=True))
        self._claimer = Claimer(queues)
        self._peers = Peers(self._database)
        self._idle = Idle(self._database, queues, self._peers.fileno(), self._wake_fd)

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise BrokerError(
                "a consumer cannot be used in a forked child: its claims are the parent's; make a new one"
            )

    def _try(self, limit: int) -> list[Claim]:
        """Claim what is there. While there is nothing to settle, look first: reading disturbs nobody."""
        self._exhausted = True
        if limit <= 0:
            self._send_pending()
            return []
        self._keep_peers()
        if not self._pending and not self._database.peek(self._claimer.has_work, (ledger.now_ms(),)):
            return []
        promoting = time.monotonic() >= self._promote_at
        try:
            settled, claimed, promoted = self._database.write(lambda c: self._transact(c, limit, promoting))
        except sqlite3.IntegrityError:
            return self._start_again()
        if promoting:
            self._promote_at = time.monotonic() + PROMOTE_SECONDS
        self._settled(settled)
        if promoted:
            self._database.ring_queues(promoted)
        return self._claimed(claimed)

    def _transact(
        self, connection: sqlite3.Connection, limit: int, promoting: bool
    ) -> tuple[ledger.Settled, Claimed, set[int]]:
        settled = self._settle_in(connection)
        promoted: set[int] = set()
        if promoting:
            now = ledger.now_ms()
            due = connection.execute(self._claimer.with_due, (now,)).fetchall()
            promoted = ledger.promote(connection, [row[0] for row in due], now) if due else promoted
        claimed = self._claimer.claim(connection, self._number, limit, not self._held)
        if len(claimed.rows) == 1 < limit and not self._held:
            connection.execute("UPDATE messages SET solo = 1 WHERE id = ?", (claimed.rows[0][1][0],))
        return settled, claimed, promoted

    def _claimed(self, claimed: Claimed) -> list[Claim]:
        self._claimer.passed(claimed.last_queue)
        self._exhausted = claimed.exhausted
        claims = []
        for queue, (row, _, deliveries, redelivered, body) in claimed.rows:
            claim = Claim(self._queues[queue], decode_message(body), row, deliveries, bool(redelivered))
            self._held[row] = claim
            claims.append(claim)
        return claims

    def _start_again(self) -> list[Claim]:
        """This owner was declared dead, and what it held was given to others: go on under a new number."""
        self._late += len(self._pending)
        self._pending = Pending()
        self._held.clear()
        self._database.life.end(self._number)
        self._number = owners.register(self._database, self._owner)
        return []

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _wait(self, limit: int, deadline: float) -> list[Claim]:
        while True:
            remaining = deadline - time.monotonic()
            awake = self._idle.sleep(min(remaining, self._until_due()))
            if awake.called or remaining <= 0:
                return []
            if awake.peer_died:
                self._sweep()
            changed = self._idle.changed()
            if changed:
                self._sweep_at = min(self._sweep_at, self._swept_at + SWEEP_SECONDS_AFTER_CHANGE)
            if awake.bells or awake.peer_died or changed or self._until_due() <= 0:
                claims = self._try(limit)
                if awake.bells and not self._exhausted:
                    self._database.ring(awake.bells)
                if claims:
                    return claims
            self._keep_peers()

    def _until_due(self) -> float:
        """Return the seconds until the next delayed message of these queues is due."""
        due = self._database.peek(self._claimer.next_due)[0][0]
        return 3600.0 if due is None else (int(str(due)) - ledger.now_ms()) / 1000

    def _keep_peers(self) -> None:
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep()
        elif now >= self._peers_at:
            self._peers_at = now + PEERS_SECONDS
            if self._peers.somebody_died():
                self._sweep()

    def _sweep(self) -> None:
        self._swept_at = time.monotonic()
        self._sweep_at = self._swept_at + SWEEP_SECONDS
        self._peers.sweep()

    # -- settling ----------------------------------------------------------------------------------------------------

    def _ending(self, settlement: Settlement) -> ledger.Ending:
        claim, now = settlement.claim, ledger.now_ms()
        sends = tuple((send.queue, ledger.to_row(send, now)) for send in settlement.sends)
        queue = self._numbered[claim.queue]
        return ledger.Ending(claim.token, self._number, sends, settlement.give_back, settlement.counted, queue)

    def _note_result(self, settlement: Settlement) -> None:
        meta = settlement.result
        assert meta is not None
        row = to_row(meta, settlement.result_expires, ledger.now_ms())
        self._pending.results.append((*row, settlement.claim.token, self._number))
        if meta.status in ENDED:
            self._pending.bells.append(bell_name(meta.task_id))

    def _check_held(self, claims: Sequence[Claim]) -> None:
        self._check_process()
        for claim in claims:
            if self._held.get(claim.token) is not claim:
                self._late += 1
                raise _lost(claim)

    def _take_back(self, claims: Sequence[Claim]) -> None:
        """They were not acknowledged, so nobody may start them: they must not be settled later either."""
        self._pending = Pending()  # nothing else was noted: that had left before
        self._held.update((claim.token, claim) for claim in claims)

    def _send_pending(self) -> None:
        if self._pending:
            self._settled(self._database.write(self._settle_in))

    def _settle_in(self, connection: sqlite3.Connection) -> ledger.Settled:
        pending = self._pending
        return ledger.settle(connection, pending.plain, pending.endings, pending.results)

    def _settled(self, settled: ledger.Settled) -> None:
        """Forget what has left, and wake who waits for it."""
        bells = self._pending.bells
        if self._pending:
            self._pending = Pending()
        self._late += settled.late
        with contextlib.suppress(BrokerError):
            if bells:
                self._database.ring(bells)
            if settled.queues or settled.names:
                self._database.ring_queues({*settled.queues, *self._numbers.find(list(settled.names)).values()})


def _lost(claim: Claim) -> BrokerError:
    return BrokerError(f"task {claim.message.id} was given to another worker meanwhile; it is not started here")
