"""From a claim to its ending, in three steps, so that every execution mode shares them.

`prepare` decides whether a message runs (in the consumer's thread), `perform` runs it (wherever the mode does),
`finish` decides what becomes of it (in the consumer's thread again).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from longshore import signals
from longshore.app import Longshore
from longshore.brokers.port import Claim, Consumer
from longshore.core.admission import Bury, Doomed, Drop, Expired, Fail, Park, Postpone, Refusal, Revoked, admit
from longshore.core.admission import Run as RunNow
from longshore.core.limits import NO_LIMITS
from longshore.core.protocol import TaskCall, parse_call
from longshore.core.protocol1 import upgraded
from longshore.core.refusal import refuse
from longshore.core.settle import (
    STARTED,
    Failed,
    Failure,
    Outcome,
    State,
    Stopped,
    Succeeded,
    Verdict,
    settle,
    succeeded,
)
from longshore.encoding import CONTENT_TYPES
from longshore.exceptions import BackendError, BrokerError, MessageError
from longshore.execution import Execution, execute, execute_async
from longshore.policy import AckPolicy
from longshore.request import ExceptionInfo
from longshore.result import rebuild_exception
from longshore.run import Guard, Run
from longshore.worker.about import about
from longshore.worker.board import COUNTED, Pen
from longshore.worker.conditions import Conditions
from longshore.worker.copies import dump_copy
from longshore.worker.endings import Ending, Endings, meta_of
from longshore.worker.following import Following, with_followers
from longshore.worker.locks import Hold
from longshore.worker.options import WorkerOptions
from longshore.worker.plan import Plans, TaskPlan
from longshore.worker.revocations import Revoked as Known

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
    """The three steps for one process. `guard` makes what interrupts a run after so many seconds."""

    def __init__(
        self,
        app: Longshore,
        options: WorkerOptions,
        plans: Plans,
        endings: Endings,
        conditions: Conditions,
        *,
        revoked: Known,
        guard: Callable[[float], Guard],
    ) -> None:
        self._app = app
        self._options = options
        self._plans = plans
        self._endings = endings
        self._accept = frozenset(CONTENT_TYPES[name] for name in app.conf.accept_content)
        self._conditions = conditions
        self._can_join = app.has_backend
        self.acknowledger: Callable[[Claim], None] | None = None
        """Set by the process that has the consumer."""
        self._revoked = revoked
        self._guard = guard
        self._following = Following(app)

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
            revoked = self._revoked.any and self._revoked.is_revoked(call.id, call.headers)
            admission = admit(
                call, claim.deliveries, self._app.tasks, dead, now, revoked=revoked, can_join=self._can_join
            )
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
        verdict = self._refused(claim, call, admission, now)
        followed = self._following.after_refusal(call, verdict)
        if followed is not None:
            verdict = replace(verdict, sends=(*verdict.sends, *followed.sends))
        self._endings.add(Ending(claim, call, verdict, False, followed and followed.aftermath))
        return None

    def _refused(self, claim: Claim, call: TaskCall | None, refusal: Refusal | Doomed, now: datetime) -> Verdict:
        if isinstance(refusal, Doomed):
            known = call is not None and call.name in self._app.tasks
            ack = self._plans.of(call.name).ack if call is not None and known else AckPolicy()
            return self._settle(claim, Failed(refusal.failure), ack)
        dead = self._options.dead_letter(claim.queue)
        return refuse(refusal, claim.message, claim.queue, dead=dead, deliveries=claim.deliveries, now=now)

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
        limits = plan.limits if call.timelimit is None else call.timelimit.over(plan.limits)
        if limits is not NO_LIMITS:
            run.limits = limits
            run.guard = self._guard(limits.soft) if limits.soft else None
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
            case Doomed(failure):
                logger.error("%s failed, its process was ended: %s", what, failure)
                self._tell_failed(call, failure)
            case Expired():
                logger.info("%s expired before it ran", what)
                self._tell_revoked(claim, call, terminated=False, signum=None, expired=True)
            case Revoked(reason, signum):
                logger.info("%s was %s", what, reason)
                self._tell_revoked(claim, call, terminated=signum is not None, signum=signum, expired=False)

    def _tell_failed(self, call: TaskCall | None, failure: Failure) -> None:
        if call is not None and signals.task_failure.receivers:
            error = rebuild_exception(failure.as_result())
            signals.task_failure.send(
                self._app.tasks.get(call.name),
                task_id=call.id,
                exception=error,
                args=call.args,
                kwargs=call.kwargs,
                traceback=None,
                einfo=ExceptionInfo(error, None),
            )

    def _tell_revoked(self, claim: Claim, call: TaskCall | None, **how: object) -> None:
        if call is not None:
            request = Run(call, claim.message, claim.queue).request
            signals.task_revoked.send(self._app.tasks.get(call.name), request=request, **how)

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
        run = prepared.run
        run.witness = pen
        pen.start(run.call.id, _about(prepared), _marks(prepared))
        if run.limits is not NO_LIMITS or not prepared.plan.ack.late:
            _insure(prepared, pen)
        began = time.perf_counter()
        prepared.execution = execute(prepared.plan.task, run)
        prepared.seconds = time.perf_counter() - began
        pen.end(failed=isinstance(prepared.execution.outcome, Failed))

    @staticmethod
    async def perform_async(prepared: Prepared, pen: Pen) -> None:
        """Run it on the running event loop, and note how that ended."""
        run = prepared.run
        run.witness = pen
        pen.start(run.call.id, _about(prepared), _marks(prepared))
        if run.limits is not NO_LIMITS or not prepared.plan.ack.late:
            _insure(prepared, pen)
        began = time.perf_counter()
        prepared.execution = await execute_async(prepared.plan.task, run)
        prepared.seconds = time.perf_counter() - began
        pen.end(failed=isinstance(prepared.execution.outcome, Failed))

    # -- after -------------------------------------------------------------------------------------------------------

    def finish(self, prepared: Prepared) -> None:
        """Decide what becomes of the message and the result, and note it."""
        claim, execution = prepared.claim, prepared.execution
        assert execution is not None
        if prepared.hold is not None:
            self._free([prepared])
        followed = self._following.after_run(prepared.run, execution)
        outcome, after = followed.outcome, followed.aftermath
        verdict = succeeded(outcome.value) if isinstance(outcome, Succeeded) else self._settled(prepared, outcome)
        if isinstance(outcome, Stopped):
            self._tell_revoked(claim, prepared.run.call, terminated=True, signum=None, expired=False)
        if after is not None or prepared.run.children:
            verdict = with_followers(verdict, followed, prepared.run)
        if _is_told(outcome):
            _log(prepared, execution)
        self._endings.add(Ending(claim, prepared.run.call, verdict, prepared.run.acknowledged, after))

    def _settled(self, prepared: Prepared, outcome: Outcome) -> Verdict:
        ack = prepared.plan.ack.after(acknowledged=prepared.run.acknowledged)
        return self._settle(prepared.claim, outcome, ack)

    def _settle(self, claim: Claim, outcome: Outcome, ack: AckPolicy) -> Verdict:
        return settle(
            outcome,
            claim.message,
            claim.queue,
            ack=ack,
            dead=self._options.dead_letter(claim.queue),
            deliveries=claim.deliveries,
            now=datetime.now(UTC),
        )


def _insure(prepared: Prepared, pen: Pen) -> None:
    """Say how long it may take; of an early-acked one that others wait for, keep the message while it runs."""
    run, hard = prepared.run, prepared.run.limits.hard
    if not prepared.plan.ack.late and (hard is not None or any(run.call.embed.values())):
        copy = dump_copy(prepared.claim.queue, run.message)
        if copy is not None:
            pen.keep(copy)
    if hard is not None:
        pen.limit(hard)


def _about(prepared: Prepared) -> str:
    run = prepared.run
    flags = ("r" if run.redelivered else "") + ("" if prepared.plan.ack.late else "a")
    return about(run.call.name, run.queue, run.call.headers, run.call.properties.get("priority"), flags)


def _marks(prepared: Prepared) -> int:
    return prepared.plan.marks | COUNTED if prepared.claim.counted else prepared.plan.marks


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
