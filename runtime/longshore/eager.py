"""A canvas in the caller's process: the same decisions as in a worker, carried out at once, with no broker.

Every task runs through the worker's code; its message is made and read, so that what could not be sent fails here.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from longshore.core.aftermath import (
    Aftermath,
    Place,
    after_failure,
    after_replacing,
    after_success,
    chord_failed,
    chord_succeeded,
)
from longshore.core.canvas import Sig, merged
from longshore.core.chord import Progress, Whole, chord_error_text, first_failure
from longshore.core.planning import Node, Plan, PlannedCall
from longshore.core.protocol import TaskCall, parse_call
from longshore.core.settle import (
    FAILURE,
    PENDING,
    SUCCESS,
    Failed,
    Failure,
    Rejected,
    ReplacedBy,
    Retried,
    Succeeded,
)
from longshore.execution import Execution, execute
from longshore.publishing import ALL
from longshore.rebuilding import rebuild_exception
from longshore.request import Request
from longshore.result import EagerResult, GroupResult
from longshore.results.port import ResultMeta
from longshore.run import Run

if TYPE_CHECKING:
    from longshore.app import Longshore

logger = logging.getLogger(__name__)


def place_of(call: TaskCall) -> Place:
    """Return where a call stands in a canvas."""
    headers = call.headers
    return Place(
        task_id=call.id,
        root_id=call.root_id,
        group_id=call.group,
        group_index=headers.get("group_index"),
        embed=call.embed,
        nesting=headers.get("replaced_task_nesting") or 0,
        reply_to=call.properties.get("reply_to") or None,
    )


def rejection(reason: str) -> Failure:
    """Return how a rejected task is stored."""
    return Failure("Reject", "celery.exceptions", [reason, False], reason)


def call_in_place(
    app: Longshore, task_id: str, errback: Sig, failure: Failure, error: BaseException | None, request: Any
) -> None:
    """Call an error callback of the old style with (request, exception, traceback); what it raises is logged."""
    request = request or Request(id=task_id, called_directly=False)
    error = error or rebuild_exception(failure.as_result())
    args, kwargs, _ = merged(errback, (request, error, failure.traceback))
    try:
        app.tasks[str(errback["task"])](*args, **kwargs)
    except Exception:  # it is the user's code
        logger.exception("error callback %s of task %s raised", errback["task"], task_id)


class EagerRun:
    """One canvas on its way through this process."""

    def __init__(self, app: Longshore, *, throw: bool) -> None:
        self._app = app
        self._throw = throw
        self._ended: dict[str, tuple[ResultMeta, BaseException | None]] = {}
        self._chords: dict[str, Progress] = {}
        self._queue: deque[PlannedCall] = deque()

    def carry_out(self, made: Plan) -> Any:
        """Run all of it, and return its result."""
        self._take(made)
        while self._queue:
            self._run(self._queue.popleft())
        return None if made.result is None else self._result(made.result)

    def _take(self, made: Plan | Aftermath) -> None:
        for start in made.starts:
            self._chords[start.group_id] = self._chords.get(start.group_id, Progress()).start(start.size)
        self._queue.extend(made.calls)

    def _run(self, planned: PlannedCall) -> None:
        outgoing = self._app.canvases.outgoing(planned)
        task, message = self._app.tasks[planned.task], outgoing.message
        while True:
            call = parse_call(message, ALL)
            run = Run(call, message, queue=outgoing.queue, is_eager=True, request_type=task.Request)
            execution = execute(task, run)
            if not isinstance(execution.outcome, Retried):
                break
            message = execution.outcome.message
        self._end(run, execution)

    def _end(self, run: Run, execution: Execution) -> None:
        call, place = run.call, place_of(run.call)
        match execution.outcome:
            case Succeeded(value):
                self._note(ResultMeta(task_id=call.id, status=SUCCESS, result=value, group_id=call.group), None)
                self._follow(after_success(place, value))
            case Failed(failure):
                self._fail(run, place, failure, execution.error)
            case Rejected(reason, _):
                self._fail(run, place, rejection(reason), execution.error)
            case ReplacedBy(sig):
                self._follow(after_replacing(place, sig))
            case _:
                self._note(ResultMeta(task_id=call.id, status=SUCCESS), None)

    def _fail(self, run: Run, place: Place, failure: Failure, error: BaseException | None) -> None:
        if self._throw and error is not None:
            raise error
        stored = ResultMeta(
            task_id=place.task_id, status=FAILURE, result=failure.as_result(), traceback=failure.traceback
        )
        self._note(stored, error)
        after = after_failure(place, FAILURE, failure, self._app.canvases.runs_in_place)
        self._follow(after)
        self._app.canvases.call_in_place(after, failure, error, run.request)

    def _note(self, meta: ResultMeta, error: BaseException | None) -> None:
        self._ended.setdefault(meta.task_id, (meta, error))

    def _follow(self, after: Aftermath) -> None:
        self._take(after)
        for other in after.states:
            state = other.state
            meta = ResultMeta(task_id=other.task_id, status=state.status, result=state.result)
            self._note(meta, rebuild_exception(state.result))
        for ended in after.parts:
            gid = ended.part.group_id
            self._chords[gid], counted = self._chords.get(gid, Progress()).count(ended.part, 0.0)
            if not isinstance(counted, Whole):
                continue
            self._chords[gid] = self._chords[gid].finish(ended.part.claimant)
            if broken := first_failure(counted.parts):
                text = chord_error_text(broken)
                failure = Failure("ChordError", "celery.exceptions", [text], text)
                failed = chord_failed(ended, failure, None, self._app.canvases.runs_in_place)
                self._follow(failed)
                self._app.canvases.call_in_place(failed, failure)
            else:
                self._follow(chord_succeeded(ended, [part.result for part in counted.parts], None))

    def _result(self, node: Node) -> Any:
        (task_id, parent), members = node
        above = None if not parent else self._result(parent)
        if members is None:
            meta, error = self._ended.get(task_id, (ResultMeta(task_id=task_id, status=PENDING), None))
            return EagerResult(meta, app=self._app, error=error, parent=above)
        results = [self._result(member) for member in members]
        with contextlib.suppress(ValueError):
            [only] = results
            if isinstance(only, GroupResult):
                return only
        return GroupResult(task_id, results, above, app=self._app)
