"""Celery's message protocol 1, which clients with ``task_protocol = 1`` still send: everything in one object.

Such a message becomes one of protocol 2 before anything looks at it, so that nothing else knows of protocol 1.
"""

from __future__ import annotations

from typing import Any

import msgspec

from longshore.core.protocol import shortened
from longshore.encoding import JSON_ONLY, decoded
from longshore.exceptions import MessageError
from longshore.message import JSON, UTF8, Message, dump_body

_CANVAS = ("callbacks", "errbacks", "chord")


def upgraded(message: Message, accept: frozenset[str] = JSON_ONLY) -> Message:
    """Return a message of protocol 1 as one of protocol 2; raise `MessageError` where it is no task's at all."""
    call = decoded(message, accept)
    if not isinstance(call, dict) or not isinstance(call.get("task"), str) or not isinstance(call.get("id"), str):
        raise MessageError("no `task` header, and no protocol 1 body: this is not a task message of Celery's")
    args, kwargs = call.get("args") or [], call.get("kwargs") or {}
    embed: dict[str, Any] = {**{part: call.get(part) for part in _CANVAS}, "chain": None}
    return msgspec.structs.replace(
        message,
        body=dump_body([args, kwargs, embed]),
        headers={**message.headers, **_headers(call, args, kwargs), "compression": None},
        content_type=JSON,
        content_encoding=UTF8,
    )


def _headers(call: dict[str, Any], args: Any, kwargs: Any) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": call["task"],
        "id": call["id"],
        "shadow": None,
        "eta": call.get("eta"),
        "expires": call.get("expires"),
        "group": call.get("group") or call.get("taskset"),
        "group_index": call.get("group_index"),
        "retries": call.get("retries") or 0,
        "timelimit": call.get("timelimit") or [None, None],
        "root_id": call.get("root_id") or call["id"],
        "parent_id": call.get("parent_id"),
        "argsrepr": shortened(repr(args)),
        "kwargsrepr": shortened(repr(kwargs)),
        "origin": call.get("origin") or "",
    }
