"""One process of a worker in the mode `processes`: claim, run, settle, one task at a time, until told to drain.

It is a whole worker: its own connection, its consumer, one slot; tasks run in the main thread. No message passes to
another process.
"""

from __future__ import annotations

import logging
import os

from longshore.app import Longshore
from longshore.brokers.port import Broker, Claim, Consumer, Owner, Settlement
from longshore.core.backoff import reconnect_delay
from longshore.core.readahead import ReadAhead
from longshore.exceptions import BackendError, BrokerError, BrokerRefused
from longshore.worker.board import Pen
from longshore.worker.conditions import Conditions
from longshore.worker.endings import Endings, close
from longshore.worker.events import TaskEvents
from longshore.worker.limits import AlarmGuard
from longshore.worker.options import WorkerOptions
from longshore.worker.plan import Plans
from longshore.worker.quota import Quota
from longshore.worker.revocations import Revoked
from longshore.worker.runs import Runs
from longshore.worker.signals import WakePipe

logger = logging.getLogger("longshore.worker")

IDLE_WAIT_SECONDS = 30.0
GROUP, GROUP_SECONDS = 16, 0.001
"""Early-acked tasks that are acknowledged together: this many, of this much expected work."""


class TaskProcess:
    """The loop of one process. `wake` is rung by signals."""

    def __init__(
        self,
        app: Longshore,
        options: WorkerOptions,
        owner: Owner,
        pens: list[Pen],
        wake: WakePipe,
        conditions: Conditions,
        revoked: Revoked,
    ) -> None:
        self._options = options
        self._owner = owner
        self._pen = pens[0]
        self._events = TaskEvents(app, options.name, self._pen)
        self._wake = wake
        self._broker: Broker = app.broker
        self._read_ahead = ReadAhead()
        self._plans = Plans(app, options)
        self._endings = Endings(app, self._plans, self._pause)
        self._revoked = revoked
        self._runs = Runs(app, options, self._plans, self._endings, conditions, revoked=revoked, guard=AlarmGuard)
        self._quota = Quota.of(options)
        self._draining = False

    def drain(self) -> None:
        """Claim no more; what runs is finished, what has not started goes back. Safe in a signal handler."""
        self._draining = True

    def run(self) -> None:
        """Work until drained. A broker that goes away is waited for; one that refuses for good raises."""
        results = self._endings.stored_with_settlement
        consumer = self._broker.consumer(self._owner, self._options.queues, wake_fd=self._wake.fd, results=results)
        self._runs.acknowledger = lambda claim: consumer.acknowledge_now([claim])
        try:
            self._loop(consumer)
            self._endings.leave(consumer)
            self._events.close()
        except BackendError as error:
            logger.error("%s; what could not be stored goes back to its queue", error)
            close(consumer)

    def _loop(self, consumer: Consumer) -> None:
        failures = 0
        self._pen.ready()
        while not self._draining:
            try:
                self._step(consumer)
                failures = 0
            except BrokerRefused:
                raise
            except BrokerError as error:
                failures += 1
                self._lost_broker(consumer, error, failures)

    def _step(self, consumer: Consumer) -> None:
        """Settle what has ended, claim, work it off."""
        self._hand_over(consumer)
        if not self._draining:  # waiting for the result backend may have taken the ring that told of it
            limit = self._read_ahead.limit()
            if self._quota is not None:
                limit = self._quota.claimable(limit)
            self._work_off(consumer, consumer.claim(limit, IDLE_WAIT_SECONDS, ahead=self._quota is None))

    def _lost_broker(self, consumer: Consumer, error: BrokerError, failures: int) -> None:
        """What has not started goes back; what has ended is settled when the broker is there again."""
        consumer.abandon()
        self._read_ahead.reset()
        if failures == 1:
            logger.warning("broker lost: %s; trying again until it is back", error)
        self._pause(reconnect_delay(failures))

    def _pause(self, seconds: float) -> bool:
        self._wake.wait(seconds)
        return self._draining

    # -- a batch -----------------------------------------------------------------------------------------------------

    def _work_off(self, consumer: Consumer, claims: list[Claim]) -> None:
        self._events.follow()
        self._revoked.refresh()
        if self._pen.tally is not None:
            self._pen.tally.begin()
        at, count = 0, len(claims)
        while at < count:
            self._pen.holding(count - at)
            end = at + self._start_together(claims, at)
            if end == at:  # it may be long: nothing waits behind it, neither a claim nor a settlement
                end += 1
                self._free(consumer, claims[end:])
                count = end
            self._work(consumer, claims[at:end])
            at = end
            if self._draining:
                self._free(consumer, claims[at:count])
                break
            if at < count and self._endings.are_due():  # the last ones leave with the next claim
                self._hand_over(consumer)
                consumer.flush()
        self._pen.holding(0)

    def _start_together(self, claims: list[Claim], at: int) -> int:
        """Return how many of the next claims are begun together; 0 when the first one may be long."""
        name = claims[at].message.headers.get("task", "")
        if not self._read_ahead.is_short(name):
            return 0
        return 1 if self._plans.of(name).begins_alone else self._acknowledged_together(claims, at)

    def _acknowledged_together(self, claims: list[Claim], at: int) -> int:
        """Early-acked tasks are acknowledged in groups of at most `GROUP` and about a millisecond of work.

        With a killed process at most those are lost which were acknowledged with the running one; none starts twice.
        """
        expected = 0.0
        for size, claim in enumerate(claims[at : at + GROUP]):
            name = claim.message.headers.get("task", "")
            if not self._read_ahead.is_short(name):
                return size
            expected += self._read_ahead.expected(name)
            if size and expected > GROUP_SECONDS:
                return size
            if self._plans.of(name).begins_alone:
                return size
        return min(GROUP, len(claims) - at)

    def _work(self, consumer: Consumer, claims: list[Claim]) -> None:
        group = [each for claim in claims if (each := self._runs.prepare(claim, self._pen)) is not None]
        self._runs.begin(consumer, group)
        for prepared in group:
            self._runs.perform(prepared, self._pen)
            self._read_ahead.measured(prepared.run.call.name, prepared.seconds)
            self._runs.finish(prepared)
            if self._pen.tally is not None and prepared.execution is not None:
                name, outcome = prepared.run.call.name, prepared.execution.outcome
                self._pen.tally.note(name, outcome, prepared.seconds, overhead=True)
        if self._quota is not None:
            self._charge(self._quota, len(group))

    def _charge(self, quota: Quota, tasks: int) -> None:
        """Drain, to be replaced, when this process has used up what it may."""
        quota.ran(tasks)
        if not self._draining and (why := quota.spent()) is not None:
            logger.info("process %d is replaced: %s", os.getpid(), why)
            self.drain()

    def _free(self, consumer: Consumer, rest: list[Claim]) -> None:
        """Settle what has ended; give back what was claimed or fetched and has not started."""
        for claim in reversed(rest):
            consumer.settle(Settlement(claim, give_back=True))
        self._hand_over(consumer)
        consumer.flush()

    def _hand_over(self, consumer: Consumer) -> None:
        self._endings.hand_over(consumer)
        self._pen.settled()
