"""From a canvas to what is sent: every id is given first, then the messages that can go at once are listed.

Pure: ids come from an argument. A worker derives them from the task that just ended, so that a task that is run again
after a crash asks for the same messages, which then count once.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longshore.core.canvas import (
    CHAIN,
    GROUP,
    PLACE,
    Sig,
    as_list,
    body_of,
    ends_in_group,
    flat,
    gathered,
    kind_of,
    linked,
    make_chain,
    make_group,
    merged,
    merged_options,
    options_of,
    steps_of,
    tasks_of,
    with_kwargs,
    with_options,
    without_place,
)

Node = tuple[tuple[str, Any], list[Any] | None]
"""A result as Celery writes it: ((id, parent), None), or ((group id, parent), [members])."""

_OF_THE_CHAIN = frozenset({*PLACE, "link", "link_error", "chain", "parent_id", "root_id"})
_OF_THE_HEADER = frozenset({*_OF_THE_CHAIN, "countdown", "eta", "priority"})


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One message to send. `options` are those of `apply_async`; `task_id` is always among them."""

    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChordStart:
    """A chord of which `size` parts are on their way: to be noted before they are sent."""

    group_id: str
    size: int
    header: tuple[Node, ...]
    body: Sig


@dataclass(slots=True)
class Plan:
    """What sending a canvas means. `result` is `None` for an empty chain."""

    calls: list[PlannedCall] = field(default_factory=list)
    starts: list[ChordStart] = field(default_factory=list)
    result: Node | None = None


def plan(
    sig: Sig,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    new_id: Callable[[], str],
) -> Plan:
    """Return what is to be sent for a canvas that gets these arguments and options."""
    made = Plan()
    made.result = _send(made, sig, args, kwargs or {}, dict(options or {}), new_id)
    return made


def ids_after(*origin: object) -> Iterator[str]:
    """Return the ids of what follows something, the same ones whenever it is asked again."""
    name = "\n".join(map(str, origin))
    number = 0
    while True:
        yield str(uuid.uuid5(_NAMESPACE, f"{name}\n{number}"))
        number += 1


_NAMESPACE = uuid.UUID("5d0c2f6e-8a35-5b1d-9a53-1b9f2f0f5c11")


def freeze(sig: Sig, new_id: Callable[[], str]) -> tuple[Sig, Node | None]:
    """Return a canvas with every id given, and its result."""
    if _is_empty_chain(sig):
        return sig, None
    return _freeze(sig, {}, None, new_id)


def _is_empty_chain(sig: Sig) -> bool:
    return kind_of(sig) == CHAIN and not steps_of(sig)


def _send(
    made: Plan,
    sig: Sig,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: dict[str, Any],
    new_id: Callable[[], str],
) -> Node | None:
    after = as_list(options.get("chain"))
    if after and ends_in_group(sig):  # its results are one argument of what comes next
        sig, options["chain"] = make_chain([sig, *reversed(after)]), None
    place = {name: options.pop(name) for name in PLACE if options.get(name) is not None}
    options = {name: value for name, value in options.items() if value is not None and name not in PLACE}
    if _is_empty_chain(sig):
        return None
    frozen, result = _freeze(sig, place, None, new_id)
    _emit(made, frozen, args, kwargs, options)
    return result


# -- ids -------------------------------------------------------------------------------------------------------------


def _freeze(
    sig: Sig, place: Mapping[str, Any], parent: Any, new_id: Callable[[], str], *, single: bool = False
) -> tuple[Sig, Node]:
    """Give ids. `place` is for whatever stands at the end; `single` where a group must have one result."""
    match kind_of(sig):
        case "chain":
            return _freeze_chain(sig, place, parent, new_id, single=single)
        case "group" if single or "chord" in place:
            return _freeze_chord(gathered(sig), place, parent, new_id, single=True)
        case "group":
            return _freeze_group(sig, place, parent, new_id)
        case "chord":
            return _freeze_chord(sig, place, parent, new_id, single=single or "chord" in place)
        case _:
            options = _placed(options_of(sig), place, new_id)
            return {**sig, "options": options}, ((options["task_id"], parent), None)


def _placed(options: dict[str, Any], place: Mapping[str, Any], new_id: Callable[[], str]) -> dict[str, Any]:
    kept = {name: options[name] for name in ("task_id", "group_id") if options.get(name)}
    placed = {**options, **place, **kept}
    if not placed.get("task_id"):
        placed["task_id"] = new_id()
    return placed


def _freeze_chain(
    sig: Sig, place: Mapping[str, Any], parent: Any, new_id: Callable[[], str], *, single: bool
) -> tuple[Sig, Node]:
    steps = steps_of(sig)
    own = options_of(sig)
    place = {**place, **{name: own[name] for name in PLACE if own.get(name) is not None}}
    frozen: list[Sig] = []
    node: Node | None = None
    for number, step in enumerate(steps):
        is_last = number == len(steps) - 1
        up = node if node is not None else parent
        done, node = _freeze(step, place if is_last else {}, up, new_id, single=single or not is_last)
        frozen.append(done)
    assert node is not None
    own = {name: value for name, value in own.items() if name not in PLACE}
    return {**with_kwargs(sig, tasks=frozen), "options": {**own, "task_id": node[0][0]}}, node


def _freeze_group(
    sig: Sig, place: Mapping[str, Any], parent: Any, new_id: Callable[[], str], *, single: bool = False
) -> tuple[Sig, Node]:
    options = options_of(sig)
    gid = options.get("task_id") or place.get("task_id") or new_id()
    frozen, nodes = [], []
    for index, member in enumerate(flat(tasks_of(sig))):
        done, node = _freeze(member, {"group_id": gid, "group_index": index}, None, new_id, single=single)
        frozen.append(done)
        nodes.append(node)
    rest = {name: value for name, value in options.items() if name not in PLACE}
    return {**make_group(frozen, {**rest, "task_id": gid}), "args": sig.get("args") or ()}, ((gid, parent), nodes)


def _freeze_chord(
    sig: Sig, place: Mapping[str, Any], parent: Any, new_id: Callable[[], str], *, single: bool
) -> tuple[Sig, Node]:
    options = options_of(sig)
    header = (sig.get("kwargs") or {}).get("header")
    header_id = options_of(header).get("task_id") if isinstance(header, Mapping) and kind_of(header) == GROUP else None
    members = make_group([without_place(member) for member in flat(tasks_of(sig))], {"task_id": header_id})
    group, (root, nodes) = _freeze_group(members, {}, parent, new_id, single=True)
    own = {name: options.pop(name) for name in PLACE if options.get(name) is not None}
    if own.get("task_id") == root[0]:  # a frozen chord carries its header's id
        del own["task_id"]
    body = body_of(sig)
    assert body is not None
    done, node = _freeze(body, {**place, **own}, (root, nodes), new_id, single=single)
    frozen = with_kwargs(sig, header=group, body=done)
    return {**frozen, "options": {**options, "task_id": root[0]}}, node


# -- messages --------------------------------------------------------------------------------------------------------


def _emit(made: Plan, sig: Sig, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """List the messages of a canvas that has its ids."""
    match kind_of(sig):
        case "chain":
            _emit_chain(made, sig, args, kwargs, dict(options))
        case "group":
            own = options_of(sig)
            sig = linked(sig, as_list(own.get("link")), as_list(own.get("link_error")))
            own = {name: value for name, value in own.items() if name not in _OF_THE_CHAIN}
            own = merged_options(own, {n: v for n, v in options.items() if n != "chain"})
            for member in tasks_of(sig):
                _emit(made, member, (*args, *(sig.get("args") or ())), kwargs, own)
        case "chord":
            _emit_chord(made, sig, args, kwargs, dict(options))
        case _:
            all_args, all_kwargs, all_options = merged(sig, args, kwargs, options)
            own_chain = as_list((sig.get("options") or {}).get("chain"))
            if own_chain and options.get("chain"):
                all_options["chain"] = [*as_list(options["chain"]), *own_chain]
            made.calls.append(PlannedCall(str(sig["task"]), all_args, all_kwargs, all_options))


def _taken(name: str, own: dict[str, Any], given: dict[str, Any]) -> list[Any]:
    """Take an option that is a list from both; what the canvas itself says comes first."""
    return as_list(own.pop(name, None)) + as_list(given.pop(name, None))


def _emit_chain(made: Plan, sig: Sig, args: Sequence[Any], kwargs: Mapping[str, Any], given: dict[str, Any]) -> None:
    own = options_of(sig)
    links, errbacks = _taken("link", own, given), _taken("link_error", own, given)
    after = [*as_list(given.pop("chain", None)), *as_list(own.pop("chain", None))]
    first, *rest = tasks_of(linked(sig, links, errbacks))
    options = {**{name: value for name, value in own.items() if name not in _OF_THE_CHAIN}, **given}
    if after or rest:
        options["chain"] = [*after, *reversed(rest)]
    own_args = tuple(sig.get("args") or ())
    _emit(made, first, own_args if sig.get("immutable") else (*args, *own_args), kwargs, options)


def _emit_chord(made: Plan, sig: Sig, args: Sequence[Any], kwargs: Mapping[str, Any], given: dict[str, Any]) -> None:
    own = options_of(sig)
    links, errbacks = _taken("link", own, given), _taken("link_error", own, given)
    after = [*as_list(given.pop("chain", None)), *as_list(own.pop("chain", None))]
    header = (sig.get("kwargs") or {})["header"]
    said = {**{name: value for name, value in own.items() if name not in PLACE}, **given}
    body = linked(body_of(sig) or {}, links, errbacks)
    for_body = {name: value for name, value in said.items() if name not in _OF_THE_HEADER}
    body = {**body, "options": merged_options(options_of(body), for_body)}
    if after:
        body = with_options(body, chain=[*after, *as_list(options_of(body).get("chain"))])
    members = tasks_of(header)
    if not members:
        bare = {name: value for name, value in given.items() if name in {"parent_id", "root_id", "priority"}}
        _emit(made, body, ([],), {}, bare)
        return
    gid = options_of(header)["task_id"]
    nodes = tuple(_node_of(member) for member in members)
    made.starts.append(ChordStart(gid, len(members), nodes, body))
    own_args = tuple(sig.get("args") or ())
    all_args = own_args if sig.get("immutable") else (*args, *own_args)
    all_kwargs = {**((sig.get("kwargs") or {}).get("kwargs") or {}), **kwargs}
    for member in members:
        _emit(made, _in_chord(member, body), all_args, all_kwargs, said)


def _in_chord(sig: Sig, body: Sig) -> Sig:
    """Return a part of a chord's header such that its last task knows the body."""
    match kind_of(sig):
        case "chain":
            *head, last = tasks_of(sig)
            return with_kwargs(sig, tasks=[*head, _in_chord(last, body)])
        case "chord":
            return with_kwargs(sig, body=_in_chord(body_of(sig) or {}, body))
        case _:
            return with_options(sig, chord=body)


def _node_of(sig: Sig) -> Node:
    """Return the result of a part that has its ids; a part has one result."""
    match kind_of(sig):
        case "chain":
            return _node_of(tasks_of(sig)[-1])
        case "chord":
            return _node_of(body_of(sig) or {})
        case _:
            return (options_of(sig)["task_id"], None), None
