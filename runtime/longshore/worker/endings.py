"""What has ended and is not settled yet: results are stored, then messages sent, then claims removed, in this order.

A death between two of these steps makes a duplicate, never a loss.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from longshore.app import Longshore
from longshore.brokers.port import Claim, Consumer, Outgoing, Settlement
from longshore.core.aftermath import Aftermath
from longshore.core.backoff import reconnect_delay
from longshore.core.protocol import TaskCall
from longshore.core.readahead import HORIZON_SECONDS, LIMIT
from longshore.core.settle import State, Verdict
from longshore.exceptions import BackendError, BrokerError
from longshore.results.port import ResultBackend, ResultMeta
from longshore.worker.chords import Chords, Following
from longshore.worker.plan import Plans

logger = logging.getLogger("longshore.worker")


class Ending(NamedTuple):
    """One message's end. `call` is `None` for what was no task; `acknowledged` when the claim is gone already."""

    claim: Claim
    call: TaskCall | None
    verdict: Verdict
    acknowledged: bool
    aftermath: Aftermath | None = None
    """What else follows, besides the messages of the verdict."""


class Endings:
    """The endings of one process. `pause` sleeps, and returns whether to give up because the worker drains."""

    def __init__(self, app: Longshore, plans: Plans, pause: Callable[[float], bool]) -> None:
        self._app = app
        self._plans = plans
        self._pause = pause
        self._chords = Chords(app)
        self.stored_with_settlement = _backend_beside_broker(app)
        """The backend into which settlements store their results; `None` where results are stored first."""
        self._is_extended = app.conf.result_extended
        self._waiting: list[Ending] = []
        self._oldest = 0.0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, ending: Ending) -> None:
        """Note an ending; it leaves with the next `hand_over`."""
        if not self._waiting:
            self._oldest = time.monotonic()
        self._waiting.append(ending)

    def are_due(self) -> bool:
        """Whether they must leave now: within 10 ms, or 100 of them."""
        waiting = len(self._waiting)
        return waiting >= LIMIT or (waiting > 0 and time.monotonic() - self._oldest > HORIZON_SECONDS)

    def hand_over(self, consumer: Consumer) -> None:
        """Store the results, then note the settlements; they leave with the consumer's next claim or flush.

        What an early-acked task sends (its retry, its dead letter) nobody else has: it stays here until it is sent.
        """
        if not self._waiting:
            return
        self._store_results()
        self._join_chords()
        early = [ending for ending in self._waiting if ending.acknowledged and ending.verdict.sends]
        late = [ending for ending in self._waiting if not ending.acknowledged]
        self._waiting = early
        for ending in late:
            consumer.settle(self._settlement(ending))
        while self._waiting:
            self._app.broker.send(_outgoing(self._waiting[0].verdict))
            self._waiting.pop(0)

    def _settlement(self, ending: Ending) -> Settlement:
        claim, call, verdict = ending.claim, ending.call, ending.verdict
        if call is None or verdict.state is None or not self._goes_with_settlement(ending):
            return Settlement(claim, _outgoing(verdict), verdict.give_back, verdict.counted)
        meta, expires = self._meta(claim, call, verdict.state), self._app.conf.result_expires
        return Settlement(claim, _outgoing(verdict), verdict.give_back, verdict.counted, meta, expires)

    def _meta(self, claim: Claim, call: TaskCall, state: State) -> ResultMeta:
        """Return what is stored; `result_extended` adds what the call was."""
        meta = meta_of(call, state)
        if not self._is_extended:
            return meta
        return msgspec.structs.replace(
            meta,
            name=call.name,
            args=call.args,
            kwargs=call.kwargs,
            worker=self._plans.worker,
            retries=call.retries,
            queue=claim.queue,
        )

    def _goes_with_settlement(self, ending: Ending) -> bool:
        """Whether one transaction stores the result and settles; what a chord counts on is stored before it counts."""
        call = ending.call
        return (
            self.stored_with_settlement is not None
            and not ending.acknowledged
            and call is not None
            and not call.embed.get("chord")
            and self._plans.keeps_result_of(call)
        )

    def leave(self, consumer: Consumer) -> None:
        """Settle the last ones and close the consumer, as well as the broker lets us.

        With the broker down, claims go back by themselves (a duplicate); what an early-acked task sends exists nowhere
        else, so that is tried until it is sent or the drain time-out ends this process.
        """
        failures = 0
        while True:
            try:
                self.hand_over(consumer)
                consumer.flush()
                break
            except BrokerError as error:
                failures += 1
                if not any(ending.acknowledged for ending in self._waiting):
                    logger.warning("not settled at the end: %s; these tasks run again", error)
                    break
                if failures == 1:
                    logger.warning("%s; waiting to send what early-acknowledged tasks left", error)
                time.sleep(reconnect_delay(failures))
        close(consumer)

    def _store_results(self) -> None:
        """Hold the claims while the backend is down: a settlement without its result would lose the result."""
        metas = [
            self._meta(ending.claim, ending.call, ending.verdict.state)
            for ending in self._waiting
            if ending.call
            and ending.verdict.state
            and self._plans.keeps_result_of(ending.call)
            and not self._goes_with_settlement(ending)
        ]
        if metas:
            expires = self._app.conf.result_expires
            self._hold_until(lambda: self._app.backend.store(metas, expires=expires), len(metas))

    def _join_chords(self) -> None:
        """What a chord needs to know it knows before the messages of its parts are gone."""
        followings = [
            Following(
                ending.aftermath,
                ending.claim.queue,
                ending.call.root_id,
                ending.call.properties.get("reply_to") or None,
            )
            for ending in self._waiting
            if ending.aftermath is not None and ending.call is not None
        ]
        if followings:
            self._hold_until(lambda: self._chords.carry_out(followings), len(followings))

    def _hold_until(self, stored: Callable[[], None], tasks: int) -> None:
        failures = 0
        while True:
            try:
                stored()
                return
            except BackendError as error:
                failures += 1
                if failures == 1:
                    logger.warning("results cannot be stored: %s; holding %d tasks until they can", error, tasks)
                if self._pause(reconnect_delay(failures)):
                    raise


def _backend_beside_broker(app: Longshore) -> ResultBackend | None:
    return app.backend if app.has_backend and app.broker.settles_results_of(app.backend) else None


def close(consumer: Consumer) -> None:
    """Give back what is held, as well as the broker lets us."""
    try:
        consumer.close()
    except BrokerError as error:
        logger.warning("claims could not be given back: %s; they go back with their lease", error)


def _outgoing(verdict: Verdict) -> tuple[Outgoing, ...]:
    return tuple(Outgoing(send.queue, send.message, send.due_at) for send in verdict.sends)


def meta_of(call: TaskCall, state: State) -> ResultMeta:
    """Return a state as it is stored."""
    return ResultMeta(
        task_id=call.id,
        status=state.status,
        result=state.result,
        traceback=state.traceback,
        date_done=datetime.now(UTC).isoformat(),
        group_id=call.group,
        parent_id=call.parent_id,
        reply_to=call.properties.get("reply_to") or None,
        children=list(state.children),
    )
