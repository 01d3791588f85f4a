"""From a claim to its ending, in three steps, so that every execution mode shares them.

`prepare` decides whether a message runs (in the consumer's thread), `perform` runs it (wherever the mode does),
`finish` decides what becomes of it (in the consumer's thread again).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from longshore import signals
from longshore.app import Longshore
from longshore.brokers.port import Claim, Consumer
from longshore.core.admission import Bury, Drop, Expired, Fail, Park, Postpone, admit
from longshore.core.admission import Run as RunNow
from longshore.core.protocol import TaskCall, parse_call
from longshore.core.protocol1 import upgraded
from longshore.core.refusal import refuse
from longshore.core.settle import STARTED, Failed, Outcome, State, Succeeded, Verdict, settle, succeeded
from longshore.encoding import CONTENT_TYPES
from longshore.exceptions import BackendError, BrokerError, MessageError
from longshore.execution import Execution, Run, execute, execute_async
from longshore.worker.board import Pen, about
from longshore.worker.conditions import Conditions
from longshore.worker.endings import Ending, Endings, meta_of
from longshore.worker.locks import Hold
from longshore.worker.options import WorkerOptions
from longshore.worker.plan import Plans, TaskPlan

logger = logging.getLogger("longshore.worker")


@dataclass(slots=True)
class Prepared:
    """A claim that runs, and afterwards how that ended."""

    claim: Claim
    plan: TaskPlan
    run: Run
    hold: Hold | None = None
    """The lock that this run has."""
    execution: Execution | None = None
    seconds: float = 0.0


class Runs:
    """The three steps for one process."""

    def __init__(
        self, app: Longshore, options: WorkerOptions, plans: Plans, endings: Endings, conditions: Conditions
    ) -> None:
        self._app = app
        self._options = options
        self._plans = plans
        self._endings = endings
        self._accept = frozenset(CONTENT_TYPES[name] for name in app.conf.accept_content)
        self._conditions = conditions
        self.acknowledger: Callable[[Claim], None] | None = None
        """Set by the process that has the consumer."""

    # -- before ------------------------------------------------------------------------------------------------------

    def prepare(self, claim: Claim, pen: Pen) -> Prepared | None:
        """Return what is to run; `None` for a message that does not run now, whose ending is noted."""
        now = datetime.now(UTC)
        dead = self._options.dead_letter(claim.queue)
        call = None
        try:
            if "task" not in claim.message.headers:
                claim.message = upgraded(claim.message, self._accept)
            call = parse_call(claim.message, self._accept)
            admission = admit(call, claim.deliveries, self._app.tasks, dead, now)
        except MessageError as error:
            admission = Bury("Undecodable", str(error))
        if call is not None and isinstance(admission, RunNow):
            plan = self._plans.of(call.name)
            answer = self._conditions.admit(call, plan)
            if answer is None or isinstance(answer, Hold):
                return self._prepared(claim, call, plan, answer)
            admission = answer
        assert not isinstance(admission, RunNow)
        self._tell(claim, call, admission)
        if call is not None and isinstance(admission, Park):
            pen.parked(call.name)
        verdict = refuse(admission, claim.message, claim.queue, dead=dead, deliveries=claim.deliveries, now=now)
        self._endings.add(Ending(claim, call, verdict, acknowledged=False))
        return None

    def _prepared(self, claim: Claim, call: TaskCall, plan: TaskPlan, hold: Hold | None) -> Prepared:
        run = Run(
            call,
            claim.message,
            claim.queue,
            redelivered=claim.redelivered,
            deliveries=claim.deliveries,
            hostname=self._options.name,
            ignore_result=not plan.keeps_result_of(call),
            request_type=plan.task.Request,
            claim=claim,
            acknowledger=self.acknowledger,
            acknowledged=not plan.ack.late,
        )
        return Prepared(claim, plan, run, hold)

    def begin(self, consumer: Consumer, group: Sequence[Prepared]) -> None:
        """Just before these start: acknowledge the early-acked ones, so that nobody gets their messages again."""
        early = [each.claim for each in group if not each.plan.ack.late]
        if early:
            try:
                consumer.acknowledge_now(early)
            except BrokerError:
                self._free(group)
                raise
        for each in group:
            if signals.task_received.receivers:
                signals.task_received.send(consumer, request=each.run.request)
            if each.plan.tracked and not each.run.ignore_result:
                self._announce(each.run.call)

    def _free(self, group: Sequence[Prepared]) -> None:
        for each in group:
            if each.hold is not None:
                self._conditions.free(each.hold)

    def _tell(self, claim: Claim, call: TaskCall | None, admission: object) -> None:
        """Say what does not run, and why, in the log and to whoever listens."""
        what = f"task {call.name}[{call.id}]" if call else f"a message of queue {claim.queue}"
        match admission:
            case Park(_, _, reason):
                logger.warning("%s: %s", what, reason)
                if call is not None:
                    signals.task_unknown.send(self, name=call.name, id=call.id, message=claim.message, exc=reason)
            case Postpone(_, _, reason):
                logger.debug("%s waits: %s", what, reason)
            case Drop():
                logger.info("%s does not run: another copy of it did", what)
            case Fail(exception, text):
                logger.error("%s failed: %s: %s", what, exception, text)
            case Bury(_, text):
                logger.error("%s goes to the dead letters: %s", what, text)
                signals.task_rejected.send(self, message=claim.message, exc=text)
            case Expired():
                logger.info("%s expired before it ran", what)
                if call is not None:
                    request = Run(call, claim.message, claim.queue).request
                    task = self._app.tasks.get(call.name)
                    signals.task_revoked.send(task, request=request, terminated=False, signum=None, expired=True)

    def _announce(self, call: TaskCall) -> None:
        state = State(STARTED, {"pid": os.getpid(), "hostname": self._options.name})
        try:
            self._app.backend.store([meta_of(call, state)], expires=self._app.conf.result_expires)
        except BackendError as error:
            logger.warning("state STARTED of %s[%s] is not stored: %s", call.name, call.id, error)

    # -- the run -----------------------------------------------------------------------------------------------------

    @staticmethod
    def perform(prepared: Prepared, pen: Pen) -> None:
        """Run it in this thread, and note how that ended."""
        pen.start(prepared.run.call.id, _about(prepared))
        began = time.perf_counter()
        prepared.execution = execute(prepared.plan.task, prepared.run)
        prepared.seconds = time.perf_counter() - began
        pen.end(failed=isinstance(prepared.execution.outcome, Failed))

    @staticmethod
    async def perform_async(prepared: Prepared, pen: Pen) -> None:
        """Run it on the running event loop, and note how that ended."""
        pen.start(prepared.run.call.id, _about(prepared))
        began = time.perf_counter()
        prepared.execution = await execute_async(prepared.plan.task, prepared.run)
        prepared.seconds = time.perf_counter() - began
        pen.end(failed=isinstance(prepared.execution.outcome, Failed))

    # -- after -------------------------------------------------------------------------------------------------------

    def finish(self, prepared: Prepared) -> None:
        """Decide what becomes of the message and the result, and note it."""
        claim, execution = prepared.claim, prepared.execution
        assert execution is not None
        if prepared.hold is not None:
            self._free([prepared])
        outcome = execution.outcome
        verdict = succeeded(outcome.value) if isinstance(outcome, Succeeded) else self._settle(prepared, outcome)
        if _is_told(outcome):
            _log(prepared, execution)
        self._endings.add(Ending(claim, prepared.run.call, verdict, acknowledged=prepared.run.acknowledged))

    def _settle(self, prepared: Prepared, outcome: Outcome) -> Verdict:
        claim = prepared.claim
        return settle(
            outcome,
            claim.message,
            claim.queue,
            ack=prepared.plan.ack.after(acknowledged=prepared.run.acknowledged),
            dead=self._options.dead_letter(claim.queue),
            deliveries=claim.deliveries,
            now=datetime.now(UTC),
        )


def _about(prepared: Prepared) -> str:
    run = prepared.run
    flags = ("r" if run.redelivered else "") + ("" if prepared.plan.ack.late else "a")
    return about(run.call.name, run.queue, run.call.headers, run.call.properties.get("priority"), flags)


def _is_told(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) or logger.isEnabledFor(logging.INFO)


def _log(prepared: Prepared, execution: Execution) -> None:
    call, seconds, outcome = prepared.run.call, prepared.seconds, execution.outcome
    if isinstance(outcome, Failed):
        throws = tuple(prepared.plan.task.throws)
        shown = execution.error if logger.isEnabledFor(logging.DEBUG) else None
        if isinstance(execution.error, throws):
            shown = None
        failure = outcome.failure
        logger.error("task %s[%s] failed after %.3f s: %s", call.name, call.id, seconds, failure, exc_info=shown)
    else:
        logger.info("task %s[%s] %s in %.3f s", call.name, call.id, type(outcome).__name__.lower(), seconds)
