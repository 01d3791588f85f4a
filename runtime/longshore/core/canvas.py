"""Signatures as plain values: what they are, how they merge, and what stands at their end.

A signature is the dict of Celery's wire: {task, args, kwargs, options, subtask_type, immutable}. Everything here takes
dicts and returns new ones; nothing is changed in place, and nothing knows of brokers, apps or results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Sig = Mapping[str, Any]

CHAIN, GROUP, CHORD = "chain", "group", "chord"
ACCUMULATE = "celery.accumulate"

IMMUTABLE_OPTIONS = frozenset({"group_id", "stamped_headers"})
"""Options that, once given, stay: another value would leave whoever waits for them waiting."""
PLACE = ("task_id", "group_id", "group_index", "chord")
"""Options that say where a signature stands, so that they belong to the last task of a composed one."""


def make_signature(
    task: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    subtask_type: str | None = None,
    immutable: bool = False,
) -> dict[str, Any]:
    """Return a signature as it is on the wire."""
    return {
        "task": task,
        "args": tuple(args),
        "kwargs": dict(kwargs or {}),
        "options": dict(options or {}),
        "subtask_type": subtask_type,
        "immutable": immutable,
    }


def kind_of(sig: Sig) -> str | None:
    """Return "chain", "group" or "chord", `None` for one task's signature; a chord without a body is a group."""
    kind = sig.get("subtask_type")
    if kind == CHORD:
        return CHORD if body_of(sig) is not None else GROUP
    return kind if kind in {CHAIN, GROUP} else None


def options_of(sig: Sig) -> dict[str, Any]:
    """Return a copy of the options."""
    return dict(sig.get("options") or {})


def tasks_of(sig: Sig) -> list[Sig]:
    """Return the members of a group, the steps of a chain, the header of a chord, as they were written."""
    kwargs = sig.get("kwargs") or {}
    tasks = kwargs.get("header") if sig.get("subtask_type") == CHORD else kwargs.get("tasks")
    if isinstance(tasks, Mapping):
        return [tasks] if kind_of(tasks) is None else tasks_of(tasks)
    return list(tasks or ())


def body_of(chord: Sig) -> Sig | None:
    """Return the body of a chord."""
    body: Sig | None = (chord.get("kwargs") or {}).get("body")
    return body


def make_chain(steps: Iterable[Sig], options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the chain of these steps."""
    return make_signature("celery.chain", (), {"tasks": list(steps)}, options, subtask_type=CHAIN)


def make_group(members: Iterable[Sig], options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the group of these members."""
    return make_signature("celery.group", (), {"tasks": list(members)}, options, subtask_type=GROUP)


def make_chord(header: Iterable[Sig], body: Sig, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the chord of a header and a body."""
    kwargs = {"kwargs": {}, "header": list(header), "body": body}
    return make_signature("celery.chord", (), kwargs, options, subtask_type=CHORD)


def gathered(group: Sig) -> dict[str, Any]:
    """Return a signature with one result, the list of a group's results, where the place allows only one."""
    members = [without_place(member) for member in flat(tasks_of(group))]
    options = {name: value for name, value in options_of(group).items() if name not in PLACE}
    return make_chord(members, make_signature(ACCUMULATE, kwargs={"index": 0}), options)


def with_one_result(sig: Sig) -> Sig:
    """Return a canvas whose end, if it is a group, is gathered into one list."""
    match kind_of(sig):
        case "group":
            return gathered(sig)
        case "chain" if steps := steps_of(sig):
            return with_kwargs(sig, tasks=[*steps[:-1], with_one_result(steps[-1])])
        case "chord":
            body = body_of(sig)
            assert body is not None
            return with_kwargs(sig, body=with_one_result(body))
        case _:
            return sig


# -- merging ---------------------------------------------------------------------------------------------------------


def merged(
    sig: Sig,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    force: bool = False,
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """Return args, kwargs and options of a partial that gets more: new args go first, new kwargs and options win.

    An immutable signature takes options only (`force`: everything).
    """
    own_args, own_kwargs = tuple(sig.get("args") or ()), dict(sig.get("kwargs") or {})
    new_options = merged_options(sig.get("options") or {}, options or {})
    if sig.get("immutable") and not force:
        return own_args, own_kwargs, new_options
    return (*args, *own_args), {**own_kwargs, **(kwargs or {})}, new_options


def merged_options(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge options; a stamp, and the group that a task belongs to, stay what they are."""
    fixed = IMMUTABLE_OPTIONS.union(own.get("stamped_headers") or ())
    return {**own, **{name: value for name, value in given.items() if name not in fixed or name not in own}}


def with_options(sig: Sig, **changes: Any) -> dict[str, Any]:
    """Return a copy with these options set."""
    return {**sig, "options": {**options_of(sig), **changes}}


def with_kwargs(sig: Sig, **changes: Any) -> dict[str, Any]:
    """Return a copy with these keyword arguments set."""
    return {**sig, "kwargs": {**(sig.get("kwargs") or {}), **changes}}


def as_list(value: Any) -> list[Any]:
    """Return an option that may be one, several or none as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


# -- structure -------------------------------------------------------------------------------------------------------


def flat(members: Iterable[Sig]) -> list[Sig]:
    """Return members with groups among them opened and empty chains dropped: they all run side by side."""
    result: list[Sig] = []
    for member in members:
        kind = kind_of(member)
        if kind == GROUP:
            result += flat(_with_inherited(member, inner) for inner in tasks_of(member))
        elif kind != CHAIN or steps_of(member):
            result.append(member)
    return result


def _with_inherited(group: Sig, member: Sig) -> Sig:
    """What somebody said of a group holds for its members."""
    said = {name: value for name, value in options_of(group).items() if name not in (*PLACE, "link", "link_error")}
    return {**member, "options": merged_options(said, options_of(member))} if said else member


def steps_of(chain: Sig) -> list[Sig]:
    """Return the steps of a chain such that each has one result: chains opened, a group followed by a step made a chord
    with it, a group of one made its member, empty ones dropped. Only the last may be a group.
    """
    steps: list[Sig] = []
    for step in reversed(_opened(tasks_of(chain))):
        if steps and kind_of(step) == GROUP:
            steps[0] = _as_chord(step, steps[0])
        elif steps and kind_of(step) == CHORD and ends_in_group(step):
            body = body_of(step)
            assert body is not None
            steps[0] = with_kwargs(step, body=make_chain([body, steps[0]]))
        else:
            steps.insert(0, step)
    return steps


def _as_chord(group: Sig, body: Sig) -> Sig:
    options = {name: value for name, value in options_of(group).items() if name not in PLACE}
    header = make_group(tasks_of(group), {"task_id": gid} if (gid := options_of(group).get("task_id")) else None)
    made = make_chord((), body, options)
    return with_kwargs(made, header=header)


def _opened(steps: Sequence[Sig]) -> list[Sig]:
    opened: list[Sig] = []
    for step in steps:
        kind = kind_of(step)
        if kind == CHAIN:
            opened += _opened(tasks_of(step))
            continue
        members = flat(tasks_of(step)) if kind == GROUP else []
        opened.append(members[0] if len(members) == 1 else step)
    full = [step for step in opened if kind_of(step) != GROUP or tasks_of(step)]
    return full or opened[:1]


def ends_in_group(sig: Sig) -> bool:
    """Whether the last thing that runs is a group, whose results are many."""
    match kind_of(sig):
        case "group":
            return True
        case "chain":
            steps = steps_of(sig)
            return bool(steps) and ends_in_group(steps[-1])
        case "chord":
            body = body_of(sig)
            return body is not None and ends_in_group(body)
        case _:
            return False


def without_place(sig: Sig) -> Sig:
    """Return a signature that belongs to no group and no chord; ids stay."""
    options = {name: value for name, value in options_of(sig).items() if name not in PLACE or name == "task_id"}
    bare = {**sig, "options": options}
    match kind_of(sig):
        case "chain" if tasks_of(sig):
            *head, last = tasks_of(sig)
            return with_kwargs(bare, tasks=[*head, without_place(last)])
        case "chord":
            body = body_of(sig)
            assert body is not None
            return with_kwargs(bare, body=without_place(body))
        case _:
            return bare


def without_id(sig: Sig) -> Sig:
    """Return a signature whose end has no id of its own yet."""
    bare = {**sig, "options": {name: value for name, value in options_of(sig).items() if name != "task_id"}}
    match kind_of(sig):
        case "chain" if tasks_of(sig):
            *head, last = tasks_of(sig)
            return with_kwargs(bare, tasks=[*head, without_id(last)])
        case "chord":
            body = body_of(sig)
            assert body is not None
            return with_kwargs(bare, body=without_id(body))
        case _:
            return bare


# -- links -----------------------------------------------------------------------------------------------------------


def linked(sig: Sig, callbacks: Sequence[Any] = (), errbacks: Sequence[Any] = ()) -> Sig:
    """Return a signature with more callbacks at its end, and more error callbacks wherever it may fail."""
    if not callbacks and not errbacks:
        return sig
    match kind_of(sig):
        case "chain" if steps := steps_of(sig):
            last = len(steps) - 1
            tasks = [linked(step, callbacks if n == last else (), errbacks) for n, step in enumerate(steps)]
            return with_kwargs(sig, tasks=tasks)
        case "chord":
            body = body_of(sig)
            assert body is not None
            return with_kwargs(sig, body=linked(body, callbacks, errbacks))
        case "group":
            return _linked_group(sig, callbacks, errbacks)
        case _:
            return _linked_task(sig, callbacks, errbacks)


def _linked_group(group: Sig, callbacks: Sequence[Any], errbacks: Sequence[Any]) -> Sig:
    """A callback of a group hangs on its first member, as in Celery; the errors of every member count."""
    fixed = [{**callback, "immutable": True} for callback in callbacks]
    tasks = [linked(member, fixed if n == 0 else (), errbacks) for n, member in enumerate(tasks_of(group))]
    return with_kwargs(group, tasks=tasks)


def _linked_task(sig: Sig, callbacks: Sequence[Any], errbacks: Sequence[Any]) -> Sig:
    options = options_of(sig)
    for name, more in (("link", callbacks), ("link_error", errbacks)):
        if more:
            there = as_list(options.get(name))
            options[name] = there + [link for link in more if link not in there]
    return {**sig, "options": options}
