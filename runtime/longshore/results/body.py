"""A state as Celery stores it: the key and the JSON body, both ways. Pure; knows no server."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from longshore.exceptions import BackendError
from longshore.message import dump_body, load_text
from longshore.results.port import ResultMeta

_ALWAYS = ("status", "result", "traceback", "children", "date_done", "task_id")
_IF_KNOWN = ("group_id", "parent_id", "name", "worker", "retries", "queue", "args", "kwargs")
_EXACT = (type(None), bool, int, str)
"""Values that both encoders write alike; a float may be NaN, which only the standard library's writes."""

_encode = msgspec.json.Encoder().encode


class _Body(msgspec.Struct, omit_defaults=True):
    """Field order is the order on the wire, the status first: scripts look for it there."""

    status: str
    result: Any
    traceback: str | None
    children: list[Any]
    date_done: str | None
    task_id: str
    group_id: str | None = None
    parent_id: str | None = None
    name: str | None = None
    worker: str | None = None
    retries: int | None = None
    queue: str | None = None


def key(task_id: str) -> str:
    """Return the key of a task's state; it is the name of its channel, too."""
    return f"celery-task-meta-{task_id}"


def dump(meta: ResultMeta) -> str:
    """Return the body as Celery writes it, the status first; values that JSON does not have carry their type."""
    if type(meta.result) in _EXACT and not meta.children and meta.args is None:
        try:
            return _dump_plain(meta)
        except (OverflowError, UnicodeEncodeError):  # an integer above 64 bits, a lone surrogate
            pass
    fields = {name: getattr(meta, name) for name in _ALWAYS}
    fields.update({name: value for name in _IF_KNOWN if (value := getattr(meta, name)) is not None})
    try:
        return json.dumps(fields)
    except TypeError:
        return dump_body(fields).decode()


def _dump_plain(meta: ResultMeta) -> str:
    body = _Body(
        meta.status,
        meta.result,
        meta.traceback,
        meta.children,
        meta.date_done,
        meta.task_id,
        meta.group_id,
        meta.parent_id,
        meta.name,
        meta.worker,
        meta.retries,
        meta.queue,
    )
    return _encode(body).decode()


def load(text: bytes, task_id: str) -> ResultMeta:
    """Return the state in a body; raises `BackendError` for what is none."""
    try:
        fields = dict(load_text(text))
        known = {name: fields[name] for name in (*_ALWAYS, *_IF_KNOWN) if name in fields}
        known["children"] = known.get("children") or []
        return ResultMeta(**{**known, "task_id": task_id, "status": fields["status"]})
    except (ValueError, TypeError, KeyError) as error:
        raise BackendError(f"the stored result of task {task_id} cannot be read: {error}") from error
