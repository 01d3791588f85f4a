"""One process of a worker: claim, run, settle, until told to drain.

It is a whole worker: its own connection, its consumer, one slot. No message passes to another process.
"""

from __future__ import annotations

import logging
import os
import select
import time
from datetime import UTC, datetime
from functools import cached_property

from longshore.app import Longshore
from longshore.brokers.port import Broker, Claim, Consumer, Owner, Settlement
from longshore.core.admission import Bury, Expired, Park, admit
from longshore.core.admission import Run as RunNow
from longshore.core.backoff import reconnect_delay
from longshore.core.protocol import TaskCall, parse_call
from longshore.core.readahead import ReadAhead
from longshore.core.refusal import refuse
from longshore.core.settle import STARTED, Failed, State, Verdict, settle
from longshore.exceptions import BackendError, BrokerError, BrokerRefused, LongshoreError, MessageError
from longshore.execution import Execution, Run, execute
from longshore.stores import open_store
from longshore.stores.port import Store
from longshore.worker.board import Pen
from longshore.worker.endings import Ending, Endings, meta_of
from longshore.worker.options import WorkerOptions
from longshore.worker.plan import Plans, TaskPlan

logger = logging.getLogger("longshore.worker")

IDLE_WAIT_SECONDS = 30.0
TICK_MEMORY_SECONDS = 24 * 3600.0


class TaskProcess:
    """The loop of one process. `wake_fd` becomes readable when `drain` was called by a signal handler."""

    def __init__(self, app: Longshore, options: WorkerOptions, owner: Owner, pen: Pen, wake_fd: int) -> None:
        self._app = app
        self._options = options
        self._owner = owner
        self._pen = pen
        self._wake_fd = wake_fd
        self._broker: Broker = app.broker
        self._read_ahead = ReadAhead()
        self._plans = Plans(app, options)
        self._endings = Endings(app, self._plans, self._pause)
        self._draining = False

    def drain(self) -> None:
        """Claim no more; what runs is finished, what has not started goes back. Safe in a signal handler."""
        self._draining = True

    def run(self) -> None:
        """Work until drained. A broker that goes away is waited for; one that refuses for good raises."""
        consumer = self._broker.consumer(self._owner, self._options.queues, wake_fd=self._wake_fd)
        try:
            self._loop(consumer)
        except BackendError as error:
            logger.error("%s; what could not be stored goes back to its queue", error)
        finally:
            consumer.close()

    def _loop(self, consumer: Consumer) -> None:
        failures = 0
        self._pen.ready()
        while not self._draining:
            try:
                self._hand_over(consumer)
                claims = consumer.claim(self._read_ahead.limit(), IDLE_WAIT_SECONDS)
                failures = 0
                self._work_off(consumer, claims)
            except BrokerRefused:
                raise
            except BrokerError as error:
                failures += 1
                self._lost_broker(consumer, error, failures)
        self._hand_over(consumer)
        consumer.flush()

    def _lost_broker(self, consumer: Consumer, error: BrokerError, failures: int) -> None:
        """What has not started goes back; what has ended is settled when the broker is there again."""
        consumer.abandon()
        self._read_ahead.reset()
        if failures == 1:
            logger.warning("broker lost: %s; trying again until it is back", error)
        self._pause(reconnect_delay(failures))

    def _pause(self, seconds: float) -> bool:
        select.select([self._wake_fd], [], [], seconds)
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
            self._handle(consumer, claim)
            if may_be_long or self._draining:
                self._free(consumer, rest)
                break
            if self._endings.are_due():
                self._hand_over(consumer)
                consumer.flush()
        self._pen.holding(0)

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

    # -- one message -------------------------------------------------------------------------------------------------

    def _handle(self, consumer: Consumer, claim: Claim) -> None:
        now = datetime.now(UTC)
        dead = self._options.dead_letter(claim.queue)
        call = None
        try:
            call = parse_call(claim.message)
            admission = admit(call, claim.deliveries, self._app.tasks, dead, now)
        except MessageError as error:
            admission = Bury("Undecodable", str(error))
        if not isinstance(admission, RunNow):
            self._tell(claim, call, admission)
            verdict = refuse(admission, claim.message, claim.queue, dead=dead, deliveries=claim.deliveries, now=now)
            self._endings.add(Ending(claim, call, verdict, acknowledged=False))
        elif call is not None and not self._is_second_copy(call):
            self._execute(consumer, claim, call)
        else:
            self._endings.add(Ending(claim, call, Verdict(), acknowledged=False))

    def _tell(self, claim: Claim, call: TaskCall | None, admission: object) -> None:
        what = f"task {call.name}[{call.id}]" if call else f"a message of queue {claim.queue}"
        match admission:
            case Park(_, _, reason):
                logger.warning("%s: %s", what, reason)
            case Bury(_, text):
                logger.error("%s goes to the dead letters: %s", what, text)
            case Expired():
                logger.info("%s expired before it ran", what)

    def _is_second_copy(self, call: TaskCall) -> bool:
        """A tick published twice runs once, where there is a store; the same copy may run again after a crash."""
        if call.tick is None or self._store is None:
            return False
        key, copy = f"tick:{call.tick.get('schedule')}:{call.tick.get('time')}", str(call.tick.get("copy"))
        return not self._store.claim_once(key, copy, expires=TICK_MEMORY_SECONDS)

    @cached_property
    def _store(self) -> Store | None:
        url = self._app.conf.store_url or self._app.conf.broker_url
        try:
            return open_store(url)
        except LongshoreError:  # RabbitMQ alone has none: ticks are at-least-once there
            return None

    # -- one run -----------------------------------------------------------------------------------------------------

    def _execute(self, consumer: Consumer, claim: Claim, call: TaskCall) -> None:
        plan = self._plans.of(call.name)
        run = Run(
            call,
            claim.message,
            claim.queue,
            redelivered=claim.redelivered,
            deliveries=claim.deliveries,
            hostname=self._options.name,
            ignore_result=not plan.keeps_result_of(call),
        )
        if not plan.ack.late:
            consumer.acknowledge_now(claim)
        if plan.tracked and not run.ignore_result:
            self._announce(call)
        self._pen.start(call.id)
        began = time.perf_counter()
        execution = execute(plan.task, run)
        seconds = time.perf_counter() - began
        self._pen.end(failed=isinstance(execution.outcome, Failed))
        self._read_ahead.measured(call.name, seconds)
        self._log(plan, call, execution, seconds)
        self._end(claim, call, execution, plan)

    def _announce(self, call: TaskCall) -> None:
        state = State(STARTED, {"pid": os.getpid(), "hostname": self._options.name})
        try:
            self._app.backend.store([meta_of(call, state)], expires=self._app.conf.result_expires)
        except BackendError as error:
            logger.warning("state STARTED of %s[%s] is not stored: %s", call.name, call.id, error)

    def _end(self, claim: Claim, call: TaskCall, execution: Execution, plan: TaskPlan) -> None:
        verdict = settle(
            execution.outcome,
            claim.message,
            claim.queue,
            ack=plan.ack,
            dead=self._options.dead_letter(claim.queue),
            deliveries=claim.deliveries,
            now=datetime.now(UTC),
        )
        self._endings.add(Ending(claim, call, verdict, acknowledged=not plan.ack.late))

    def _log(self, plan: TaskPlan, call: TaskCall, execution: Execution, seconds: float) -> None:
        outcome = execution.outcome
        if isinstance(outcome, Failed):
            expected = bool(plan.task.throws) and isinstance(execution.error, tuple(plan.task.throws))
            shown = execution.error if logger.isEnabledFor(logging.DEBUG) and not expected else None
            failure = outcome.failure
            logger.error("task %s[%s] failed after %.3f s: %s", call.name, call.id, seconds, failure, exc_info=shown)
        elif logger.isEnabledFor(logging.INFO):
            logger.info("task %s[%s] %s in %.3f s", call.name, call.id, type(outcome).__name__.lower(), seconds)
