"""Carries out what `longshore.core.planning` and `longshore.core.aftermath` decide: messages, chords, states.

Used by clients to send, and by workers for what follows a task. Nothing is half sent: a canvas is one batch, and what
must be known before its parts run is stored before.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from longshore.brokers.port import Outgoing
from longshore.core.aftermath import Aftermath, Ended, chord_failed, chord_succeeded
from longshore.core.canvas import Sig, options_of
from longshore.core.chord import CLAIM_SECONDS, Part, chord_error_text, first_failure
from longshore.core.planning import ChordStart, Plan, PlannedCall, freeze, plan
from longshore.core.settle import PENDING, Failure
from longshore.eager import EagerRun, call_in_place
from longshore.exceptions import BackendError, BrokerError, ImproperlyConfigured, LongshoreError, NoResultBackend
from longshore.message import ONCE_HEADER
from longshore.publishing import Publishing, call_options, read_options, utc_now
from longshore.request import current_run
from longshore.result import GroupResult, result_from_tuple
from longshore.results.port import ChordBackend, ResultMeta
from longshore.signatures import Signature

if TYPE_CHECKING:
    from longshore.app import Longshore

logger = logging.getLogger(__name__)


class Canvases:
    """The canvases of one app."""

    def __init__(self, app: Longshore, publishing: Publishing) -> None:
        self._app = app
        self._publishing = publishing

    # -- sending -----------------------------------------------------------------------------------------------------

    def send(self, sig: Sig, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        """Send a canvas in one batch and return the handle of its result; `None` for an empty chain."""
        if self._app.conf.task_always_eager:
            return self.run(sig, args, kwargs, options)
        made = plan(sig, args, kwargs, options, new_id=_new_id)
        self._publish([made])
        result = self.result(made)
        if result is not None and options.get("add_to_parent", True):
            self.note_child(result)
        return result

    def send_many(self, sigs: Sequence[Sig], options: Mapping[str, Any]) -> list[Any]:
        """Send canvases in one batch and return the handles of their results."""
        if self._app.conf.task_always_eager:
            return [self.run(sig, (), {}, options) for sig in sigs]
        plans = [plan(sig, (), {}, options, new_id=_new_id) for sig in sigs]
        self._publish(plans)
        return [self.result(made) for made in plans]

    def _publish(self, plans: Sequence[Plan]) -> None:
        """Every message is made before anything is stored or sent: what is wrong with one of them is said first."""
        calls = [call for made in plans for call in made.calls]
        starts = [start for made in plans for start in made.starts]
        for call in calls:
            self._check(call)
        batch = [self._outgoing_said(call) for call in calls]
        if starts:
            batch += [self.outgoing(call) for call in self.start_chords(starts, anew=True)]
        if batch:
            self._app.publish(batch)

    def _check(self, call: PlannedCall) -> None:
        if call.task in self._app.tasks:
            self._app.tasks[call.task].check_arguments(call.args, call.kwargs)

    def _outgoing_said(self, call: PlannedCall) -> Outgoing:
        """What a caller of this process said must be understood: an unknown option is an error."""
        options = call_options(call.task, {**self._defaults(call.task), **call.options})
        return self._publishing.outgoing(call.task, call.args, call.kwargs, options, utc_now())

    def outgoing(self, call: PlannedCall) -> Outgoing:
        """Return the message of a planned call, whose options may be Celery's."""
        options = read_options({**self._defaults(call.task), **call.options})
        return self._publishing.outgoing(call.task, call.args, call.kwargs, options, utc_now())

    def _defaults(self, name: str) -> Mapping[str, Any]:
        return self._app.tasks[name].defaults() if name in self._app.tasks else {}

    def note_child(self, result: Any) -> None:
        """Within a task, what it sends is one of its children."""
        run = current_run.get()
        if run is not None:
            run.request.children.append(result.as_tuple())

    def result(self, made: Plan) -> Any:
        """Return the handle of a plan's result."""
        if made.result is None:
            return None
        result = result_from_tuple(made.result, self._app)
        if isinstance(result, GroupResult) and len(result) == 1 and isinstance(result[0], GroupResult):
            return result[0]  # as in Celery: a group of one chain that ends in a group is that group
        return result

    def freeze(self, sig: Signature, place: Mapping[str, Any]) -> Any:
        """Give a canvas its ids in place."""
        own = {**options_of(sig), **{name: value for name, value in place.items() if name not in options_of(sig)}}
        for name in ("chord", "group_index"):
            if name in place:
                own[name] = place[name]
        frozen, node = freeze({**sig, "options": own}, _new_id)
        sig.update(Signature.from_dict(frozen, app=sig.own_app))
        return self.result(Plan(result=node))

    def run(self, sig: Sig, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        """Run a canvas in this process and return its result."""
        options = dict(options)
        throw = options.pop("throw", None)
        made = plan(sig, args, kwargs, options, new_id=_new_id)
        for call in made.calls:
            self._check(call)
        throw = self._app.conf.task_eager_propagates if throw is None else throw
        return EagerRun(self._app, throw=throw).carry_out(made)

    # -- chords ------------------------------------------------------------------------------------------------------

    def start_chords(self, starts: Sequence[ChordStart], *, anew: bool) -> list[PlannedCall]:
        """Note chords before their parts are sent; return what else is to be sent, where the backend cannot join."""
        if not self._app.has_backend:
            raise NoResultBackend("a chord needs a result backend: set result_backend or LONGSHORE_RESULT_BACKEND")
        backend = self._app.backend
        if isinstance(backend, ChordBackend):
            sizes = {start.group_id: start.size for start in starts}
            backend.start_chords(sizes, anew=anew, expires=self._app.conf.result_expires)
            return []
        if not getattr(backend, "may_be_polled", True):
            raise ImproperlyConfigured("this result backend hands each result to one caller: it cannot join chords")
        return [self._unlocking(start) for start in starts]

    def _unlocking(self, start: ChordStart) -> PlannedCall:
        options = {"task_id": f"{start.group_id}-unlock", "countdown": 1.0, "queue": self.queue_of(start.body)}
        kwargs = {"result": [list(node) for node in start.header]}
        return PlannedCall("celery.chord_unlock", (start.group_id, start.body), kwargs, options)

    def queue_of(self, sig: Sig) -> str:
        """Return the queue of a signature."""
        return str(options_of(sig).get("queue") or self._app.queue_for(str(sig["task"])))

    def parts_of(self, group_id: str, header: Sequence[Any]) -> list[Part]:
        """Return the parts of a header as their results say, for who looks again and again."""
        ids = [task_id for node in header for task_id in _leaves(node)]
        parts = []
        for index, (task_id, meta) in enumerate(zip(ids, self._app.backend.fetch(ids), strict=True)):
            status, value = (PENDING, None) if meta is None else (meta.status, meta.result)
            parts.append(Part(group_id, task_id, index, status, value))
        return parts

    def chord_ended(
        self, part: Part, body: Sig, parts: Sequence[Part], header: Any = None, root_id: str | None = None
    ) -> list[Ended]:
        """Send the body of a chord whose parts have all ended, or fail it; return parts of others that so ended."""
        if broken := first_failure(parts):
            return self.chord_broken(part, body, chord_error_text(broken), root_id)
        try:
            after = chord_succeeded(Ended(part, body), self._structured(header, parts), root_id)
            self.carry_out(after, once=True)
        except (BackendError, BrokerError):
            raise
        except (LongshoreError, TypeError, ValueError) as error:  # a message too large, options that cannot be
            return self.chord_broken(part, body, f"Callback error: {error!r}", root_id)
        return []

    def _structured(self, header: Any, parts: Sequence[Part]) -> list[Any]:
        """Return the values in the structure of a header of results within results."""
        if header is None or not any(node[1] is not None for node in header):
            return [part.result for part in parts]
        values = {part.task_id: part.result for part in parts}

        def value(node: Any) -> Any:
            (task_id, _), members = node
            return values.get(task_id) if members is None else [value(member) for member in members]

        return [value(node) for node in header]

    def chord_broken(self, part: Part, body: Sig, text: str, root_id: str | None = None) -> list[Ended]:
        """Fail the body of a chord, and what was to come after it; return parts of others that so ended."""
        failure = Failure("ChordError", "celery.exceptions", [text], text)
        logger.error("chord %s is broken: %s", part.group_id, text)
        after = chord_failed(Ended(part, body), failure, root_id, self.runs_in_place)
        self.carry_out(after, once=True)
        self.call_in_place(after, failure)
        return after.parts

    def carry_out(self, after: Aftermath, *, once: bool = False) -> None:
        """Store the states and send the messages of an aftermath at once. With `once`, of several copies one runs."""
        self.store_states(after)
        calls = [_once(call) for call in after.calls] if once else list(after.calls)
        if after.starts:
            calls += self.start_chords(after.starts, anew=False)
        if calls:
            self._app.publish([self.outgoing(call) for call in calls])

    def look_later(self, ended: Ended, queue: str) -> None:
        """Somebody else dispatches this chord. Should that one have died, a message that counts the part once more
        finds its claim expired: Celery's own no-op task, so that any worker will do.
        """
        part = ended.part
        options = {
            "task_id": part.task_id,
            "group_id": part.group_id,
            "group_index": part.index,
            "chord": ended.body,
            "ignore_result": True,
            "countdown": CLAIM_SECONDS + 1,
            "queue": queue,
        }
        self._app.publish([self.outgoing(PlannedCall("celery.accumulate", (), {}, options))])

    def store_states(self, after: Aftermath, reply_to: str | None = None) -> None:
        """Store the states of tasks that end because another did."""
        if after.states and self._app.has_backend:
            done = datetime.now(UTC).isoformat()
            metas = [
                ResultMeta(
                    task_id=other.task_id,
                    status=other.state.status,
                    result=other.state.result,
                    traceback=other.state.traceback,
                    date_done=done,
                    group_id=other.group_id,
                    reply_to=other.reply_to or reply_to,
                )
                for other in after.states
            ]
            self._app.backend.store(metas, expires=self._app.conf.result_expires)

    # -- error callbacks ---------------------------------------------------------------------------------------------

    def runs_in_place(self, errback: Sig) -> bool:
        """Whether an error callback takes the failure itself: then it is called here, not sent."""
        name = errback.get("task")
        return name in self._app.tasks and self._app.tasks[str(name)].calls_back_in_place(errback)

    def call_in_place(
        self, after: Aftermath, failure: Failure, error: BaseException | None = None, request: Any = None
    ) -> None:
        """Call the error callbacks of the old style."""
        for task_id, errback in after.in_place:
            call_in_place(self._app, task_id, errback, failure, error, request)


def _new_id() -> str:
    return str(uuid.uuid4())


def _once(call: PlannedCall) -> PlannedCall:
    """Mark a message, so that of two copies the first one that starts runs, and only that."""
    headers = {**(call.options.get("headers") or {}), ONCE_HEADER: {"v": 1, "copy": _new_id()}}
    return PlannedCall(call.task, call.args, call.kwargs, {**call.options, "headers": headers})


def _leaves(node: Any) -> list[str]:
    (task_id, _), members = node
    return [task_id] if members is None else [leaf for member in members for leaf in _leaves(member)]
