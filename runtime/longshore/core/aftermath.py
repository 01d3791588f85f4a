"""What follows the end of a task: callbacks, the next step of its chain, its part of a chord, how a failure spreads.

Pure. What is returned is carried out with the settlement of the task's own message, so that a death in between makes a
duplicate and never a loss; the ids of what follows are derived from the task's, so that duplicates are recognized.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longshore.core.canvas import (
    Sig,
    as_list,
    body_of,
    flat,
    kind_of,
    linked,
    options_of,
    steps_of,
    tasks_of,
    with_one_result,
    without_id,
)
from longshore.core.chord import Part
from longshore.core.planning import ChordStart, PlannedCall, ids_after, plan
from longshore.core.settle import FAILURE, REVOKED, SUCCESS, Failure, State


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task stands: its ids, and what its message says of what comes after it."""

    task_id: str
    root_id: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    embed: Mapping[str, Any] = field(default_factory=dict)
    nesting: int = 0
    """How often the task has been replaced."""
    reply_to: str | None = None
    """Where results go that are sent to their caller."""

    def family(self) -> dict[str, Any]:
        """Return the options that a task hands on to what it calls."""
        family = {"parent_id": self.task_id, "root_id": self.root_id or self.task_id}
        return {**family, "reply_to": self.reply_to} if self.reply_to else family


@dataclass(frozen=True, slots=True)
class Ended:
    """A part of a chord that ended, and the body that awaits it."""

    part: Part
    body: Sig


@dataclass(frozen=True, slots=True)
class OtherState:
    """The state of another task that ends because this one did."""

    task_id: str
    group_id: str | None
    state: State
    reply_to: str | None = None


@dataclass(slots=True)
class Aftermath:
    """Messages to send, chords to note before that, states of others to store, parts to count."""

    calls: list[PlannedCall] = field(default_factory=list)
    starts: list[ChordStart] = field(default_factory=list)
    states: list[OtherState] = field(default_factory=list)
    parts: list[Ended] = field(default_factory=list)
    children: list[Any] = field(default_factory=list)
    """Results of the calls, as tuples."""
    in_place: list[tuple[str, Sig]] = field(default_factory=list)
    """Error callbacks of the old style, called in the process itself for the task of that id."""

    def send(self, sig: Sig, args: Sequence[Any], options: Mapping[str, Any], new_id: Callable[[], str]) -> None:
        """Plan a signature's messages."""
        made = plan(sig, args, None, options, new_id=new_id)
        self.calls += made.calls
        self.starts += made.starts
        if made.result is not None:
            self.children.append(made.result)


def after_success(place: Place, value: Any) -> Aftermath:
    """Return what follows a task that returned `value`."""
    after = Aftermath()
    new_id = ids_after(place.task_id, "success").__next__
    family = place.family()
    for callback in as_list(place.embed.get("callbacks")):
        after.send(callback, (value,), family, new_id)
    if chain := as_list(place.embed.get("chain")):
        after.send(chain[-1], (value,), {**family, "chain": chain[:-1]}, new_id)
    _count(after, place, SUCCESS, value)
    return after


def after_failure(
    place: Place, status: str, failure: Failure, runs_in_place: Callable[[Sig], bool] = lambda _: False
) -> Aftermath:
    """Return what follows a task that failed (or was revoked, which calls no error callbacks)."""
    after = Aftermath()
    _count(after, place, status, failure.as_result())
    state = State(status, failure.as_result(), failure.traceback)
    for step in reversed(as_list(place.embed.get("chain"))):
        _fail(after, step, state)
    if status != REVOKED:
        new_id = ids_after(place.task_id, "failure").__next__
        _call_back(after, place.task_id, place.root_id, as_list(place.embed.get("errbacks")), runs_in_place, new_id)
    return after


def after_replacing(place: Place, sig: Sig) -> Aftermath:
    """Return what a task is replaced with: it gets the task's id, its callbacks, what comes after, and its place."""
    after = Aftermath()
    embed, nesting = place.embed, place.nesting + 1
    sig = linked(without_id(with_one_result(sig)), as_list(embed.get("callbacks")), as_list(embed.get("errbacks")))
    options = {
        "task_id": place.task_id,
        "group_id": place.group_id,
        "group_index": place.group_index,
        "chord": embed.get("chord"),
        "root_id": place.root_id or place.task_id,
        "parent_id": place.task_id,
        "replaced_task_nesting": nesting,
    }
    chain = [_nested(step, nesting) for step in as_list(embed.get("chain"))]
    after.send(sig, (), {**options, "chain": chain}, ids_after(place.task_id, "replaced", nesting).__next__)
    return after


def _nested(step: Sig, nesting: int) -> Sig:
    return {**step, "options": {**options_of(step), "replaced_task_nesting": nesting}}


def chord_succeeded(part: Ended, values: Sequence[Any], root_id: str | None) -> Aftermath:
    """Return the messages of a chord's body, which gets the list of its header's results."""
    after = Aftermath()
    family = {"parent_id": part.part.task_id, "root_id": root_id or part.part.task_id}
    after.send(part.body, (list(values),), family, ids_after(part.part.group_id, "body").__next__)
    return after


def chord_failed(
    part: Ended, failure: Failure, root_id: str | None, runs_in_place: Callable[[Sig], bool] = lambda _: False
) -> Aftermath:
    """Return what follows for a body that will never run: it fails, with all that was to come after it."""
    after = Aftermath()
    state = State(FAILURE, failure.as_result(), failure.traceback)
    _fail(after, part.body, state)
    new_id = ids_after(part.part.group_id, "failure").__next__
    seen: list[Any] = []
    for task_id, errbacks in _errbacks_of(part.body):
        new = [errback for errback in errbacks if errback not in seen]
        seen += new
        _call_back(after, task_id or part.part.task_id, root_id, new, runs_in_place, new_id)
    return after


# -- parts -----------------------------------------------------------------------------------------------------------


def _count(after: Aftermath, place: Place, status: str, result: Any) -> None:
    body = place.embed.get("chord")
    if body and place.group_id:
        after.parts.append(Ended(Part(place.group_id, place.task_id, place.group_index, status, result), body))


def _fail(after: Aftermath, sig: Sig, state: State) -> None:
    """Note the failure of everything in a canvas that will not run, so that nobody waits for it for ever."""
    match kind_of(sig):
        case "chain":
            members = steps_of(sig)
        case "group":
            members = flat(tasks_of(sig))
        case "chord":
            members = [*flat(tasks_of(sig)), body_of(sig) or {}]
        case _:
            _fail_task(after, options_of(sig), state)
            return
    for member in members:
        _fail(after, member, state)
    for step in reversed(as_list(options_of(sig).get("chain"))):
        _fail(after, step, state)


def _fail_task(after: Aftermath, options: Mapping[str, Any], state: State) -> None:
    task_id, group_id, body = options.get("task_id"), options.get("group_id"), options.get("chord")
    if not task_id:
        return
    after.states.append(OtherState(task_id, group_id, state, options.get("reply_to")))
    if body and group_id:
        part = Part(group_id, task_id, options.get("group_index"), state.status, state.result)
        after.parts.append(Ended(part, body))
    for step in reversed(as_list(options.get("chain"))):
        _fail(after, step, state)


# -- error callbacks -------------------------------------------------------------------------------------------------


def _call_back(
    after: Aftermath,
    task_id: str,
    root_id: str | None,
    errbacks: Iterable[Sig],
    runs_in_place: Callable[[Sig], bool],
    new_id: Callable[[], str],
) -> None:
    for errback in errbacks:
        if runs_in_place(errback):
            after.in_place.append((task_id, errback))
        else:
            after.send(errback, (task_id,), {"parent_id": task_id, "root_id": root_id or task_id}, new_id)


def _errbacks_of(sig: Sig) -> list[tuple[str | None, list[Any]]]:
    """Return (task id, its error callbacks) for the tasks of a body that was to run."""
    options = options_of(sig)
    own = (options.get("task_id"), as_list(options.get("link_error")))
    match kind_of(sig):
        case "chain":
            members = steps_of(sig)
        case "group":
            members = flat(tasks_of(sig))
        case "chord":
            members = [body_of(sig) or {}]
        case _:
            members = []
    return [own, *(pair for member in members for pair in _errbacks_of(member))]
