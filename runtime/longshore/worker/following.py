"""What follows a task in a worker: from its outcome to the messages that leave with its settlement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from longshore.app import Longshore
from longshore.core.aftermath import Aftermath, after_failure, after_replacing, after_success
from longshore.core.protocol import TaskCall
from longshore.core.settle import (
    FAILURE,
    REVOKED,
    Failed,
    Failure,
    Outcome,
    Rejected,
    ReplacedBy,
    Send,
    State,
    Stopped,
    Succeeded,
    Verdict,
)
from longshore.describing import describe
from longshore.eager import place_of, rejection
from longshore.exceptions import BackendError, BrokerError, LongshoreError
from longshore.execution import Execution
from longshore.run import Run

_STOPPED = Failure("TaskRevokedError", "celery.exceptions", ["terminated"], "terminated")


class Followed(NamedTuple):
    """An outcome, perhaps another than the task's own, and what follows it."""

    outcome: Outcome
    aftermath: Aftermath | None = None
    sends: tuple[Send, ...] = ()


class Following:
    """The answers of one process."""

    def __init__(self, app: Longshore) -> None:
        self._app = app

    def after_run(self, run: Run, execution: Execution) -> Followed:
        """Return what follows a run. What cannot be sent on (a result too large for a message) fails the task."""
        outcome = execution.outcome
        if not any(run.call.embed.values()) and not isinstance(outcome, ReplacedBy):
            return Followed(outcome)
        place = place_of(run.call)
        match outcome:
            case Succeeded(value):
                return self._planned(run, outcome, lambda: after_success(place, value))
            case ReplacedBy(sig):
                return self._planned(run, outcome, lambda: after_replacing(place, sig))
            case _:
                return self._after_trouble(run, execution)

    def _after_trouble(self, run: Run, execution: Execution) -> Followed:
        outcome = execution.outcome
        match outcome:
            case Failed(failure):
                return self._failed(run, outcome, failure, execution.error)
            case Rejected(reason, False):
                return self._failed(run, outcome, rejection(reason), execution.error)
            case Stopped():
                after = after_failure(place_of(run.call), REVOKED, _STOPPED)
                return Followed(outcome, after, self._sends(after))
            case _:
                return Followed(outcome)

    def after_refusal(self, call: TaskCall | None, verdict: Verdict) -> Followed | None:
        """Return what follows a message that did not run and will not."""
        state = verdict.state
        if call is None or state is None or state.status not in {FAILURE, REVOKED} or not any(call.embed.values()):
            return None
        failure = _failure(state)
        after = after_failure(place_of(call), state.status, failure, self._app.canvases.runs_in_place)
        self._app.canvases.call_in_place(after, failure)
        return Followed(Failed(failure), after, self._sends(after))

    def _planned(self, run: Run, outcome: Outcome, decide: Callable[[], Aftermath]) -> Followed:
        try:
            after = decide()
            return Followed(outcome, after, self._sends(after))
        except (BackendError, BrokerError):
            raise
        except (LongshoreError, TypeError, ValueError, KeyError) as error:
            failure = describe(error)
            return self._failed(run, Failed(failure), failure, error)

    def _failed(self, run: Run, outcome: Outcome, failure: Failure, error: BaseException | None) -> Followed:
        after = after_failure(place_of(run.call), FAILURE, failure, self._app.canvases.runs_in_place)
        self._app.canvases.call_in_place(after, failure, error, run.request)
        return Followed(outcome, after, self._sends(after))

    def _sends(self, after: Aftermath) -> tuple[Send, ...]:
        outgoing = [self._app.canvases.outgoing(call) for call in after.calls]
        return tuple(Send(one.queue, one.message, one.due_at) for one in outgoing)


def with_followers(verdict: Verdict, followed: Followed, run: Run) -> Verdict:
    """Return a verdict that sends what follows, and whose state knows the run's children."""
    children = (*run.children, *(followed.aftermath.children if followed.aftermath else ()))
    state = verdict.state
    if state is not None and children:
        state = replace(state, children=children)
    return replace(verdict, sends=(*verdict.sends, *followed.sends), state=state)


def _failure(state: State) -> Failure:
    stored = state.result if isinstance(state.result, dict) else {}
    args = stored.get("exc_message") or []
    text = str(args[0]) if args else ""
    return Failure(str(stored.get("exc_type")), str(stored.get("exc_module")), list(args), text)
