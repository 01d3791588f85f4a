"""Celery's message protocol 2: from a call to a message, and back.

Pure: ids, times and names of the sender are arguments. The header table is in `docs/wire-format.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from longshore.core.limits import Limits, read_limits
from longshore.encoding import JSON_ONLY, decoded, encoded
from longshore.exceptions import MessageError
from longshore.message import ONCE_HEADER, SENTENCE_HEADER, Message, dump_body
from longshore.sealing import MASK, keyring

REPR_LIMIT = 1024
BODY_PARTS = 3  # args, kwargs, embed
TICK_HEADER = "longshore-tick"
"""On a CronSchedule's tick: {v: 1, schedule, time, copy}; `copy` differs between two publishings of one tick."""


class TaskCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a task, as read from a message. Times are aware datetimes in UTC."""

    id: str
    name: str
    args: list[Any]
    kwargs: dict[str, Any]
    embed: dict[str, Any]
    headers: dict[str, Any]
    properties: dict[str, Any]
    retries: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    ignore_result: bool | None = None
    tick: dict[str, Any] | None = None
    once: dict[str, Any] | None = None
    """Of a call with an idempotency key."""
    timelimit: Limits | None = None
    sentence: Any = None
    """Why it must not run again; see `longshore.core.sentences`."""


_NO_EMBED: Mapping[str, None] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_NO_EMBED_JSON = dump_body(_NO_EMBED)
_PLAIN = frozenset({str, int, bool, type(None)})
"""What both encoders write alike; a float may be NaN."""
_encode = msgspec.json.Encoder().encode


def build_message(
    name: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    task_id: str,
    eta: datetime | None = None,
    expires: datetime | None = None,
    retries: int = 0,
    priority: int | None = None,
    root_id: str | None = None,
    parent_id: str | None = None,
    group: str | None = None,
    group_index: int | None = None,
    embed: Mapping[str, Any] | None = None,
    headers: Mapping[str, Any] | None = None,
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    ignore_result: bool | None = None,
    shadow: str | None = None,
    origin: str = "",
    reply_to: str = "",
    argsrepr: str | None = None,
    kwargsrepr: str | None = None,
    replaced_task_nesting: int = 0,
    stamped_headers: Sequence[str] | None = None,
    stamps: Mapping[str, Any] | None = None,
    serializer: str = "json",
    compression: str | None = None,
) -> Message:
    """Return the message that asks for one run of task `name`.

    `headers` are the caller's own; they never replace a protocol header. Raises `TypeError` when the serializer cannot
    hold an argument: bad arguments fail at the call, not in a worker.
    """
    kwargs = kwargs or {}
    all_headers: dict[str, Any] = {
        **(headers or {}),
        "lang": "py",
        "task": name,
        "id": task_id,
        "shadow": shadow,
        "eta": eta and eta.isoformat(),
        "expires": expires and expires.isoformat(),
        "group": group,
        "group_index": group_index,
        "retries": retries,
        "timelimit": [time_limit, soft_time_limit],
        "root_id": root_id or task_id,
        "parent_id": parent_id,
        "argsrepr": shortened(repr(tuple(args)) if argsrepr is None else argsrepr),
        "kwargsrepr": shortened(repr(dict(kwargs)) if kwargsrepr is None else kwargsrepr),
        "origin": origin,
        "replaced_task_nesting": replaced_task_nesting,
        "stamped_headers": list(stamped_headers) if stamped_headers else None,
        "stamps": dict(stamps or {}),
    }
    if ignore_result is not None:
        all_headers["ignore_result"] = ignore_result
    properties: dict[str, Any] = {"correlation_id": task_id, "reply_to": reply_to, "delivery_mode": 2}
    if priority is not None:
        properties["priority"] = priority
    if keyring() is not None:
        all_headers["argsrepr"] = MASK if argsrepr is None else shortened(argsrepr)
        all_headers["kwargsrepr"] = MASK if kwargsrepr is None else shortened(kwargsrepr)
    elif serializer == "json" and compression is None:
        return Message(body=_json_body(args, kwargs, embed), headers=all_headers, properties=properties)
    body = [list(args), dict(kwargs), dict(embed or _NO_EMBED)]
    return encoded(Message(body=b"", headers=all_headers, properties=properties), body, serializer, compression)


def _json_body(args: Sequence[Any], kwargs: Mapping[str, Any], embed: Mapping[str, Any] | None) -> bytes:
    """Return the three parts as JSON; plain values, which most calls have, by the fast encoder."""
    if not embed and _PLAIN.issuperset(map(type, args)) and _PLAIN.issuperset(map(type, kwargs.values())):
        try:
            return b"[%b,%b,%b]" % (_encode(args), _encode(kwargs), _NO_EMBED_JSON)
        except (OverflowError, UnicodeEncodeError, TypeError):  # an integer above 64 bits; the other encoder says what
            pass
    return dump_body([list(args), dict(kwargs), dict(embed or _NO_EMBED)])


def shortened(text: str, limit: int = REPR_LIMIT) -> str:
    """Return `text`, cut to `limit` characters with an ellipsis at its end."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def parse_call(message: Message, accept: frozenset[str] = JSON_ONLY) -> TaskCall:
    """Read a message of an accepted content type as a task's call.

    Raises `MessageError`, with a reason for a person, where it is none.
    """
    headers = message.headers
    name = headers.get("task")
    if not isinstance(name, str) or not name:
        raise MessageError("no `task` header: this is not a task message of Celery's protocol 2")
    task_id = message.id
    if not task_id:
        raise MessageError(f"task {name!r} has no id")
    args, kwargs, embed = _parts(decoded(message, accept))
    retries, eta, expires = headers.get("retries"), headers.get("eta"), headers.get("expires")
    return TaskCall(
        id=task_id,
        name=name,
        args=args,
        kwargs=kwargs,
        embed=embed,
        headers=headers,
        properties=message.properties,
        retries=_count(retries, "retries") if retries else 0,
        eta=parse_time(eta, "eta") if eta is not None else None,
        expires=parse_time(expires, "expires") if expires is not None else None,
        root_id=headers.get("root_id"),
        parent_id=headers.get("parent_id"),
        group=headers.get("group"),
        ignore_result=headers.get("ignore_result"),
        tick=headers.get(TICK_HEADER),
        once=headers.get(ONCE_HEADER),
        timelimit=read_limits(headers.get("timelimit")),
        sentence=headers.get(SENTENCE_HEADER),
    )


def _parts(body: Any) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    if not isinstance(body, list) or len(body) != BODY_PARTS:
        raise MessageError("body is not [args, kwargs, embed]")
    args, kwargs, embed = body
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise MessageError("body's args are not a list, or its kwargs not an object")
    return args, kwargs, embed if isinstance(embed, dict) else {}


def _count(value: Any, what: str) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or value < 0:
        raise MessageError(f"header `{what}` is not a count: {value!r}")
    return value


def parse_time(value: Any, what: str) -> datetime | None:
    """Read an ISO 8601 time of the wire; a naive one is UTC."""
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise MessageError(f"header `{what}` is not an ISO 8601 time: {value!r}") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
