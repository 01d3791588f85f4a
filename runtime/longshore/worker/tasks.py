"""One process of a worker in the mode `processes`: claim, run, settle, one task at a time, until told to drain.

It is a whole worker: its own connection, its consumer, one slot; tasks run in the main thread. No message passes to
another process.
"""

from __future__ import annotations

import logging

from longshore.app import Longshore
from longshore.brokers.port import Broker, Claim, Consumer, Owner, Settlement
from longshore.core.backoff import reconnect_delay
from longshore.core.readahead import ReadAhead
from longshore.exceptions import BackendError, BrokerError, BrokerRefused
from longshore.worker.board import Pen
from longshore.worker.endings import Endings, close
from longshore.worker.options import WorkerOptions
from longshore.worker.plan import Plans
from longshore.worker.runs import Runs
from longshore.worker.signals import WakePipe

logger = logging.getLogger("longshore.worker")

IDLE_WAIT_SECONDS = 30.0


class TaskProcess:
    """The loop of one process. `wake` is rung by signals."""

    def __init__(self, app: Longshore, options: WorkerOptions, owner: Owner, pens: list[Pen], wake: WakePipe) -> None:
        self._options = options
        self._owner = owner
        self._pen = pens[0]
        self._wake = wake
        self._broker: Broker = app.broker
        self._read_ahead = ReadAhead()
        plans = Plans(app, options)
        self._endings = Endings(app, plans, self._pause)
        self._runs = Runs(app, options, plans, self._endings)
        self._draining = False

    def drain(self) -> None:
        """Claim no more; what runs is finished, what has not started goes back. Safe in a signal handler."""
        self._draining = True

    def run(self) -> None:
        """Work until drained. A broker that goes away is waited for; one that refuses for good raises."""
        consumer = self._broker.consumer(self._owner, self._options.queues, wake_fd=self._wake.fd)
        try:
            self._loop(consumer)
            self._endings.leave(consumer)
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
            self._work_off(consumer, consumer.claim(self._read_ahead.limit(), IDLE_WAIT_SECONDS))

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
        for index, claim in enumerate(claims):
            rest = claims[index + 1 :]
            self._pen.holding(len(rest) + 1)
            may_be_long = not self._read_ahead.is_short(claim.message.headers.get("task", ""))
            if may_be_long and (rest or self._endings):
                self._free(consumer, rest)
                rest = []
            self._work(consumer, claim)
            if may_be_long or self._draining:
                self._free(consumer, rest)
                break
            if rest and self._endings.are_due():  # the last ones leave with the next claim
                self._hand_over(consumer)
                consumer.flush()
        self._pen.holding(0)

    def _work(self, consumer: Consumer, claim: Claim) -> None:
        prepared = self._runs.prepare(consumer, claim, self._pen)
        if prepared is not None:
            self._runs.perform(prepared, self._pen)
            self._read_ahead.measured(prepared.run.call.name, prepared.seconds)
            self._runs.finish(prepared)

    def _free(self, consumer: Consumer, rest: list[Claim]) -> None:
        """Before a task that may be long: nothing waits behind it, neither a claim nor a settlement."""
        for claim in reversed(rest):
            consumer.settle(Settlement(claim, give_back=True))
        if rest or self._endings:
            self._hand_over(consumer)
            consumer.flush()

    def _hand_over(self, consumer: Consumer) -> None:
        self._endings.hand_over(consumer)
        self._pen.settled()
