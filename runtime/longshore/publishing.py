"""From a call and its options to the message and the queue for it. Sends nothing, and opens no connection.

The options are those of Celery's `apply_async`; one that is not known is a `TypeError`, never silence.
"""

from __future__ import annotations

import fnmatch
import os
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from longshore.brokers.port import Outgoing
from longshore.core.canvas import as_list
from longshore.core.limits import check_limits
from longshore.core.locks import bound_name
from longshore.core.protocol import build_message, parse_time
from longshore.encoding import CONTENT_TYPES, decoded
from longshore.exceptions import ImproperlyConfigured, MessageTooLarge
from longshore.message import ONCE_HEADER, Message
from longshore.request import current_request
from longshore.task import due_time

if TYPE_CHECKING:
    from longshore.registry import TaskRegistry
    from longshore.settings import Settings

HIGHEST_PRIORITY = 9
ALL = frozenset(CONTENT_TYPES.values())
_IDEMPOTENT = uuid.UUID("5b6d9c0e-3d0f-5d5e-9a83-0f6b4c1f7a11")
"""Namespace of the ids of calls with an idempotency key; never to be changed."""


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller may say of one call besides its arguments."""

    queue: str | None = None
    countdown: float | None = None
    """Seconds from now until it may run."""
    eta: datetime | None = None
    """When it may run; a naive time is UTC."""
    expires: float | datetime | None = None
    """Seconds from now, or a time, after which it is not run any more."""
    priority: int | None = None
    """0 (lowest, the default) to 9."""
    task_id: str | None = None
    idempotency_key: str | None = None
    """Of several sends with one key, one runs; all get its result."""
    headers: Mapping[str, Any] | None = None
    ignore_result: bool | None = None
    shadow: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    time_limit: float | None = None
    """Seconds after which the process that runs it is ended."""
    soft_time_limit: float | None = None
    """Seconds after which `SoftTimeLimitExceeded` is raised inside it."""
    serializer: str | None = None
    """json, yaml or msgpack."""
    compression: str | None = None
    """gzip, bzip2 or lzma."""

    link: Any = None
    """A signature, or several, sent with the result when the task has succeeded."""
    link_error: Any = None
    """A signature, or several, called when the task failed for good."""
    root_id: str | None = None
    parent_id: str | None = None
    chain: Sequence[Any] | None = None
    """What comes next, the last first."""
    chord: Mapping[str, Any] | None = None
    """The body of the chord that the task is a part of."""
    group_id: str | None = None
    group_index: int | None = None
    reply_to: str | None = None
    replaced_task_nesting: int = 0
    stamped_headers: Sequence[str] | None = None
    """Names of the options that are stamps."""
    stamps: Mapping[str, Any] | None = None
    add_to_parent: bool = True
    """Within a task: whether the call is one of its children."""

    def embed(self) -> dict[str, Any] | None:
        """Return what the message says of what comes after it; `None` for nothing."""
        if not (self.link or self.link_error or self.chain or self.chord):
            return None
        return {
            "callbacks": as_list(self.link) or None,
            "errbacks": as_list(self.link_error) or None,
            "chain": list(self.chain) if self.chain else None,
            "chord": self.chord,
        }


OPTION_NAMES = CallOptions.__struct_fields__
_KNOWN = frozenset(OPTION_NAMES)
_VARIANT = "89ab"


def call_options(name: str, options: Mapping[str, Any]) -> CallOptions:
    """Return the options of a call of task `name`; raise `TypeError` for one that there is not."""
    if "stamped_headers" in options:
        options = _with_stamps(options)
    if unknown := options.keys() - _KNOWN:
        raise TypeError(f"task {name}: unknown option {', '.join(sorted(unknown))}; there is {', '.join(OPTION_NAMES)}")
    check_limits(options.get("time_limit"), options.get("soft_time_limit"))
    return CallOptions(**options)


def read_options(options: Mapping[str, Any]) -> CallOptions:
    """Return the options in a signature that came over the wire: Celery's others are left out, times may be text."""
    if "stamped_headers" in options:
        options = _with_stamps(options)
    known = {name: value for name, value in options.items() if name in _KNOWN and value is not None}
    for name in ("eta", "expires"):
        if isinstance(known.get(name), str):
            known[name] = parse_time(known[name], name)
    return CallOptions(**known)


def _with_stamps(options: Mapping[str, Any]) -> dict[str, Any]:
    """A signature holds its stamps among its options, and a list of their names."""
    names = as_list(options["stamped_headers"])
    stamps = {name: options[name] for name in names if name in options}
    return {**{name: value for name, value in options.items() if name not in stamps}, "stamps": stamps}


class Publishing:
    """Makes messages by one app's settings, and finds their queues."""

    def __init__(self, conf: Settings, tasks: TaskRegistry, reply_to: Callable[[], str]) -> None:
        self._conf = conf
        self._tasks = tasks
        self._reply_to = reply_to

    def outgoing(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions, now: datetime
    ) -> Outgoing:
        """Return the message of a call and the queue for it. Sent from a running task, it is that task's child."""
        due = due_time(options.countdown, options.eta, now)
        request = current_request()
        task_id, once = self._identity(name, args, kwargs, options)
        message = build_message(
            name,
            args,
            kwargs,
            task_id=task_id,
            eta=due,
            expires=_expiry(options.expires, now),
            priority=self._priority(options.priority),
            root_id=options.root_id or request.root_id,
            parent_id=options.parent_id or request.id,
            group=options.group_id,
            group_index=options.group_index,
            embed=options.embed(),
            replaced_task_nesting=options.replaced_task_nesting,
            stamped_headers=options.stamped_headers,
            stamps=options.stamps,
            headers={**(options.headers or {}), **once} if once else options.headers,
            ignore_result=options.ignore_result,
            shadow=options.shadow,
            origin=_origin(),
            reply_to=options.reply_to or request.reply_to or self._reply_to(),
            argsrepr=options.argsrepr,
            kwargsrepr=options.kwargsrepr,
            time_limit=options.time_limit,
            soft_time_limit=options.soft_time_limit,
            serializer=options.serializer or self._conf.task_serializer,
            compression=options.compression or self._conf.task_compression,
        )
        self._check_size(name, message)
        return Outgoing(options.queue or self.queue_for(name), message, due.timestamp() if due and due > now else None)

    def _identity(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions
    ) -> tuple[str, dict[str, Any]]:
        """Return the id of a call, and the header by which a worker runs one of those that share a key."""
        key = options.idempotency_key
        task = self._tasks.get(name)
        if key is None and task is not None and task.idempotency_key is not None and options.task_id is None:
            key = bound_name(task.idempotency_key, task.arguments(args, kwargs))
        if key is None:
            return options.task_id or new_id(), {}
        if options.task_id is not None:
            raise TypeError(f"task {name}: task_id and idempotency_key exclude each other; the id follows from the key")
        return idempotent_id(name, key), {ONCE_HEADER: {"v": 1, "copy": str(uuid.uuid4())}}

    def _check_size(self, name: str, message: Message) -> None:
        limit = self._conf.task_message_max_bytes
        if limit is not None and len(message.body) > limit:
            raise MessageTooLarge(
                f"the arguments of task {name} take {len(message.body):,} bytes as JSON and the limit is {limit:,}: "
                "put the data where workers can read it and send its address, or raise task_message_max_bytes"
            )

    def queue_for(self, name: str) -> str:
        """Return the queue of a task: its own, then `task_routes` (exact name, then patterns), then the default."""
        task = self._tasks.get(name)
        if task is not None and task.queue:
            return task.queue
        routes: Mapping[str, Any] = self._conf.task_routes
        if routes:
            route = routes.get(name) or next((r for p, r in routes.items() if fnmatch.fnmatchcase(name, p)), None)
            if route is not None:
                return str(route["queue"] if isinstance(route, Mapping) else route)
        return str(self._conf.task_default_queue)

    def _priority(self, asked: int | None) -> int | None:
        priority: int | None = self._conf.task_default_priority if asked is None else asked
        if priority is not None and not 0 <= priority <= HIGHEST_PRIORITY:
            raise ImproperlyConfigured(f"priority {priority} is not within 0 (lowest) to {HIGHEST_PRIORITY} (highest)")
        return priority


def published(outgoing: Outgoing) -> dict[str, Any]:
    """What the signals of publishing tell, as Celery's do."""
    message = outgoing.message
    return {
        "body": decoded(message, ALL),
        "exchange": "",
        "routing_key": outgoing.queue,
        "headers": message.headers,
        "properties": message.properties,
        "declare": [],
        "retry_policy": None,
    }


def idempotent_id(name: str, key: str) -> str:
    """Return the id of every call of a task that has this idempotency key."""
    return str(uuid.uuid5(_IDEMPOTENT, f"{name}:{key}"))


def new_id() -> str:
    """Return a random UUID (version 4), in a third of the time that `uuid` takes."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[int(text[16], 16) & 3]}{text[17:20]}-{text[20:]}"


def utc_now() -> datetime:
    """Return the present, aware."""
    return datetime.now(UTC)


def _expiry(expires: float | datetime | None, now: datetime) -> datetime | None:
    if isinstance(expires, datetime):
        return due_time(None, expires, now)
    return due_time(expires, None, now)


_origins: dict[int, str] = {}


def _origin() -> str:
    """Return who sends, as Celery spells it; the host's name is asked once a process."""
    pid = os.getpid()
    if (origin := _origins.get(pid)) is None:
        _origins.clear()
        origin = _origins[pid] = f"gen{pid}@{socket.gethostname()}"
    return origin
