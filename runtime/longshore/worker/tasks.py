"""One process of a worker: claim, run, settle, until told to drain.

It is a whole worker: its own connection, its consumer, one slot. No message passes to another process. The order of
every ending is: result stored, messages sent, claim removed; a death in between makes a duplicate, never a loss.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from longshore.app import Longshore
from longshore.brokers.port import Broker, Claim, Consumer, Outgoing, Owner, Settlement
from longshore.core.admission import Admission, Bury, Expired, Park, Wait, admit
from longshore.core.admission import Run as RunNow
from longshore.core.backoff import reconnect_delay
from longshore.core.protocol import TaskCall, parse_call
from longshore.core.readahead import HORIZON_SECONDS, LIMIT, ReadAhead
from longshore.core.settle import REVOKED, STARTED, Failed, Send, State, Verdict, bury, settle
from longshore.exceptions import BackendError, BrokerError, BrokerRefused, LongshoreError, MessageError
from longshore.execution import Execution, Run, execute
from longshore.message import PARKED_HEADER
from longshore.policy import AckPolicy
from longshore.results.port import ResultMeta
from longshore.stores import open_store
from longshore.stores.port import Store
from longshore.task import Task
from longshore.worker.board import Pen
from longshore.worker.options import WorkerOptions

logger = logging.getLogger("longshore.worker")

IDLE_WAIT_SECONDS = 30.0
TICK_MEMORY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """What holds for every run of one task in this process: decided once, since settings are slow to ask."""

    task: Task
    ack: AckPolicy
    tracked: bool
    has_backend: bool
    ignored: bool

    def keeps_result_of(self, call: TaskCall) -> bool:
        """Whether this call's result is stored: its own word wins over the task's, and that over the app's."""
        return self.has_backend and not (self.ignored if call.ignore_result is None else call.ignore_result)


def plan_for(task: Task, app: Longshore, options: WorkerOptions) -> TaskPlan:
    """Return the plan of a task in a worker."""
    conf = app.conf
    return TaskPlan(
        task=task,
        ack=task.ack_policy(late_by_default=options.late_by_default),
        tracked=conf.task_track_started if task.track_started is None else task.track_started,
        has_backend=app.has_backend,
        ignored=conf.task_ignore_result if task.ignore_result is None else task.ignore_result,
    )


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
        self._finished: list[tuple[Claim, TaskCall | None, Verdict, bool]] = []
        self._oldest_finished = 0.0
        self._draining = False
        self._plans: dict[str, TaskPlan] = {}

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
                self._lost_broker(error, failures)
        self._hand_over(consumer)
        consumer.flush()

    def _lost_broker(self, error: BrokerError, failures: int) -> None:
        """Claims of a broken connection are void; the broker gives them to somebody again."""
        self._finished = [entry for entry in self._finished if entry[3] and entry[2].sends]  # nobody else has these
        self._read_ahead.reset()
        if failures == 1:
            logger.warning("broker lost: %s; trying again until it is back", error)
        self._pause(reconnect_delay(failures))

    def _pause(self, seconds: float) -> None:
        import select

        select.select([self._wake_fd], [], [], seconds)

    # -- a batch -----------------------------------------------------------------------------------------------------

    def _work_off(self, consumer: Consumer, claims: list[Claim]) -> None:
        for index, claim in enumerate(claims):
            held_back = len(claims) - index - 1
            self._pen.holding(held_back + 1)
            short = self._read_ahead.is_short(claim.message.headers.get("task", ""))
            if not short and (held_back or self._finished):
                self._free(consumer, claims[index + 1 :])
                self._handle(consumer, claim)
                break
            self._handle(consumer, claim)
            if self._draining:
                self._free(consumer, claims[index + 1 :])
                break
            if self._settlement_is_due():
                self._hand_over(consumer)
                consumer.flush()
        self._pen.holding(0)

    def _free(self, consumer: Consumer, rest: list[Claim]) -> None:
        """Before a task that may be long: nobody waits behind it, neither a claim nor a settlement."""
        for claim in reversed(rest):
            consumer.settle(Settlement(claim, give_back=True))
        self._hand_over(consumer)
        consumer.flush()

    def _settlement_is_due(self) -> bool:
        if len(self._finished) >= LIMIT:
            return True
        return bool(self._finished) and time.monotonic() - self._oldest_finished > HORIZON_SECONDS

    # -- one message -------------------------------------------------------------------------------------------------

    def _handle(self, consumer: Consumer, claim: Claim) -> None:
        now = datetime.now(UTC)
        policy = self._options.dead_letter(claim.queue)
        try:
            call = parse_call(claim.message)
        except MessageError as error:
            letter = bury(claim.message, claim.queue, "Undecodable", str(error), deliveries=claim.deliveries, now=now)
            logger.error("a message of queue %s is no task: %s", claim.queue, error)
            self._finish(claim, None, Verdict((Send(policy.queue, letter),)))
            return
        admission = admit(call, claim.deliveries, self._app.tasks, policy, now)
        if not isinstance(admission, RunNow):
            self._finish(claim, call, self._turned_away(claim, call, admission, now))
        elif self._is_second_copy(call):
            self._finish(claim, call, Verdict())
        else:
            self._execute(consumer, claim, call)

    def _turned_away(self, claim: Claim, call: TaskCall, admission: Admission, now: datetime) -> Verdict:
        match admission:
            case Wait(due_at):
                return Verdict((Send(claim.queue, claim.message, due_at),))
            case Park(due_at, header, reason):
                logger.warning("task %s[%s]: %s", call.name, call.id, reason)
                return Verdict((Send(claim.queue, claim.message.with_headers({PARKED_HEADER: header}), due_at),))
            case Expired():
                logger.info("task %s[%s] expired before it ran", call.name, call.id)
                revoked = {
                    "exc_type": "TaskRevokedError",
                    "exc_message": ["expired"],
                    "exc_module": "celery.exceptions",
                }
                return Verdict(state=State(REVOKED, revoked))
            case Bury(reason, text):
                logger.error("task %s[%s] goes to the dead letters: %s", call.name, call.id, text)
                letter = bury(claim.message, claim.queue, reason, text, deliveries=claim.deliveries, now=now)
                lost = {"exc_type": "WorkerLostError", "exc_message": [text], "exc_module": "celery.exceptions"}
                sends = (Send(self._options.dead_letter(claim.queue).queue, letter),)
                return Verdict(sends, State("FAILURE", lost))
            case RunNow():
                raise AssertionError("a task that may run is not turned away")

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

    def _execute(self, consumer: Consumer, claim: Claim, call: TaskCall) -> None:
        plan = self._plan(call.name)
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
        if plan.tracked:
            self._announce(run)
        self._pen.start(call.id)
        began = time.perf_counter()
        execution = execute(plan.task, run)
        seconds = time.perf_counter() - began
        self._pen.end(failed=isinstance(execution.outcome, Failed))
        self._read_ahead.measured(call.name, seconds)
        self._log(plan.task, call, execution, seconds)
        self._settle(claim, call, execution, plan.ack)

    def _settle(self, claim: Claim, call: TaskCall, execution: Execution, ack: AckPolicy) -> None:
        verdict = settle(
            execution.outcome,
            claim.message,
            claim.queue,
            ack=ack,
            dead=self._options.dead_letter(claim.queue),
            deliveries=claim.deliveries,
            now=datetime.now(UTC),
        )
        self._finish(claim, call, verdict, acknowledged=not ack.late)

    def _announce(self, run: Run) -> None:
        if run.ignore_result:
            return
        meta = {"pid": os.getpid(), "hostname": self._options.name}
        try:
            self._app.backend.store([self._meta(run.call, State(STARTED, meta))], expires=self._app.conf.result_expires)
        except BackendError as error:
            logger.warning("state STARTED of %s[%s] is not stored: %s", run.call.name, run.call.id, error)

    def _log(self, task: Task, call: TaskCall, execution: Execution, seconds: float) -> None:
        outcome = execution.outcome
        if isinstance(outcome, Failed):
            expected = isinstance(execution.error, tuple(task.throws)) if task.throws else False
            shown = None if expected or not logger.isEnabledFor(logging.DEBUG) else execution.error
            logger.error(
                "task %s[%s] failed after %.3f s: %s", call.name, call.id, seconds, outcome.failure, exc_info=shown
            )
        elif logger.isEnabledFor(logging.INFO):
            logger.info("task %s[%s] %s in %.3f s", call.name, call.id, type(outcome).__name__.lower(), seconds)

    # -- endings -----------------------------------------------------------------------------------------------------

    def _finish(self, claim: Claim, call: TaskCall | None, verdict: Verdict, *, acknowledged: bool = False) -> None:
        if not self._finished:
            self._oldest_finished = time.monotonic()
        self._finished.append((claim, call, verdict, acknowledged))

    def _hand_over(self, consumer: Consumer) -> None:
        """Store the results of what has finished, then note the settlements; they leave with the next claim."""
        if not self._finished:
            return
        finished = self._finished
        self._store_results([self._meta(call, verdict.state) for _, call, verdict, _ in finished
                             if call and verdict.state and self._keeps(call)])  # fmt: skip
        for claim, _, verdict, acknowledged in finished:
            sends = tuple(Outgoing(send.queue, send.message, send.due_at) for send in verdict.sends)
            if not acknowledged:
                consumer.settle(Settlement(claim, sends, give_back=verdict.give_back, counted=verdict.counted))
            elif sends:
                self._broker.send(sends)
        finished.clear()
        self._pen.settled()

    def _store_results(self, metas: list[ResultMeta]) -> None:
        """Hold the claims while the backend is down: a settlement without its result would lose the result."""
        failures = 0
        while metas:
            try:
                self._app.backend.store(metas, expires=self._app.conf.result_expires)
                return
            except BackendError as error:
                failures += 1
                if failures == 1:
                    logger.warning("results cannot be stored: %s; holding %d tasks until they can", error, len(metas))
                self._pause(reconnect_delay(failures))
                if self._draining:
                    raise

    def _keeps(self, call: TaskCall) -> bool:
        if call.name in self._app.tasks:
            return self._plan(call.name).keeps_result_of(call)
        return self._app.has_backend

    def _plan(self, name: str) -> TaskPlan:
        plan = self._plans.get(name)
        if plan is None:
            plan = self._plans[name] = plan_for(self._app.tasks[name], self._app, self._options)
        return plan

    def _meta(self, call: TaskCall, state: State) -> ResultMeta:
        return ResultMeta(
            task_id=call.id,
            status=state.status,
            result=state.result,
            traceback=state.traceback,
            date_done=datetime.now(UTC).isoformat(),
            group_id=call.group,
            parent_id=call.parent_id,
        )
