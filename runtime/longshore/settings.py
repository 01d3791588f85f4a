"""An app's settings: Celery's lower-case names where they mean the same, checked when they are set.

A plain class, not a pydantic model: a worker's start-up time counts, and pydantic is not imported by a worker.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from longshore.celery_settings import ACCEPTED, refusal_of
from longshore.encoding import CONTENT_TYPES, compression_type
from longshore.exceptions import ImproperlyConfigured

_UNSET = object()


def _boolean(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in {"1", "true", "yes", "on", "0", "false", "no", "off", ""}:
        return value.lower() in {"1", "true", "yes", "on"}
    if isinstance(value, bool | int):
        return bool(value)
    raise ValueError("is not true or false")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("is not a string")
    return value


def _seconds(value: Any) -> float:
    number = value.total_seconds() if hasattr(value, "total_seconds") else float(value)
    if number < 0:
        raise ValueError("is negative")
    return float(number)


def _count(value: Any) -> int:
    number = int(value)
    if number < 1:
        raise ValueError("is less than 1")
    return number


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _only_two(value: Any) -> int:
    if value != 2:  # noqa: PLR2004 - Celery's protocol 2
        raise ValueError("can only be 2")
    return 2


def _queue_names(value: Any) -> tuple[str, ...]:
    """Accept names, kombu's Queue objects, or a mapping by name: what a queue is called is all that matters here."""
    return tuple(str(getattr(queue, "name", queue)) for queue in (value or ()))


def _optional(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else parse(value)


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value)


def _rate(value: Any) -> str | None:
    if not isinstance(value, str | int | float | None):
        raise TypeError("is no rate such as '100/m'")
    return None if value is None else str(value)


def _only_json(value: Any) -> str:
    if value != "json":
        raise ValueError("can only be 'json': pickle and others are refused")
    return "json"


def _serializer(value: Any) -> str:
    """Accept a name or its content type."""
    by_type = {content_type: name for name, content_type in CONTENT_TYPES.items()}
    name = by_type.get(value, value)
    if name not in CONTENT_TYPES:
        raise ValueError(f"is none of {', '.join(CONTENT_TYPES)}: pickle and others are refused")
    return str(name)


def _serializers(value: Any) -> tuple[str, ...]:
    return tuple(_serializer(name) for name in _names(value))


def _compression(value: Any) -> str:
    compression_type(_text(value))
    return str(value)


def _transport_options(value: Any) -> dict[str, Any]:
    options = dict(value)
    if unknown := sorted(options.keys() - {"confirm_publish"}):
        others = "?visibility_timeout=, ?master=, ?priority_order="
        raise ValueError(f"can hold confirm_publish; say {unknown[0]!r} in the address of the broker: {others}")
    return {name: _boolean(given) for name, given in options.items()}


SETTINGS: Mapping[str, tuple[Any, Callable[[Any], Any], str]] = {
    "broker_url": (None, _optional(_text), "Address of the broker: sqlite:///FILE, redis://…, amqp://…"),
    "result_backend": (None, _optional(_text), "Address of the result backend; without one, results are off"),
    "store_url": (
        None,
        _optional(_text),
        "Address of the store: locks, rate limits, idempotency keys, ticks; default: the broker's, else the results'",
    ),
    "include": ((), _names, "Modules that a worker imports, so that their tasks are registered"),
    "imports": ((), _names, "Celery's older name for `include`"),
    "task_default_queue": ("celery", _text, "Queue of a task for which nobody named one"),
    "task_default_priority": (None, _optional(int), "Priority of a call for which nobody said one, 0 (lowest) to 9"),
    "task_routes": ({}, _mapping, "Task name or pattern → {'queue': …}"),
    "task_acks_late": (False, _boolean, "Acknowledge after the run instead of just before it"),
    "task_acks_on_failure_or_timeout": (True, _boolean, "With late acks: acknowledge failed tasks too"),
    "task_reject_on_worker_lost": (
        True,
        _boolean,
        "With late acks: run again what a dying process was running; otherwise it has failed",
    ),
    "task_time_limit": (None, _optional(_seconds), "Hard time limit: the process that runs the task is ended"),
    "task_soft_time_limit": (None, _optional(_seconds), "Soft time limit: SoftTimeLimitExceeded is raised in the task"),
    "task_track_started": (False, _boolean, "Store the state STARTED"),
    "task_ignore_result": (False, _boolean, "Store no results"),
    "task_always_eager": (False, _boolean, "Run tasks in the caller at once; for tests"),
    "task_eager_propagates": (False, _boolean, "In eager mode: raise what the task raises"),
    "task_serializer": ("json", _serializer, "How arguments are encoded: json, yaml or msgpack"),
    "task_compression": (None, _optional(_compression), "How arguments are compressed: gzip, bzip2 or lzma"),
    "result_serializer": ("json", _only_json, "How results are encoded"),
    "accept_content": (("json",), _serializers, "What encodings a worker accepts: json, yaml, msgpack"),
    "result_extended": (False, _boolean, "Store name, args, kwargs, worker, retries and queue with a result"),
    "result_persistent": (False, _boolean, "With rpc://: answers survive a restart of the broker"),
    "result_expires": (86_400.0, _optional(_seconds), "How long results are kept, in seconds"),
    "task_default_rate_limit": (None, _rate, "Rate limit of a task that has none of its own, for instance 100/m"),
    "task_idempotency_expires": (
        86_400.0,
        _seconds,
        "How long after its first copy was taken by a worker an idempotency key lets no other run, in seconds",
    ),
    "task_message_max_bytes": (
        16 * 1024 * 1024,
        _optional(_count),
        "Largest body of a message, in bytes: larger arguments are an error at the call",
    ),
    "task_publish_timeout": (5.0, _seconds, "Deadline of a send, in seconds"),
    "broker_transport_options": ({}, _transport_options, "For RabbitMQ: {'confirm_publish': False} sends unconfirmed"),
    "worker_concurrency": (None, _optional(_count), "Processes of a worker; default: the CPUs of its cgroup"),
    "beat_schedule": (
        {},
        _mapping,
        "Schedules by name: {task, schedule, args, kwargs, options}; see `longshore manifests`",
    ),
    "worker_enable_remote_control": (True, _boolean, "Whether a worker hears commands (`longshore inspect`, Flower)"),
    "worker_send_task_events": (False, _boolean, "Whether a worker publishes task events; `-E` does it too"),
    "task_send_sent_event": (False, _boolean, "Whether a client publishes the event task-sent"),
    "control_exchange": ("celery", _text, "Whom commands reach: workers and clients with the same name"),
    "control_queue_ttl": (300.0, _seconds, "How long a command or a reply waits to be read, in seconds"),
    "control_queue_expires": (10.0, _seconds, "How long the queue of somebody who listens outlives him, in seconds"),
    "event_exchange": ("celeryev", _text, "Where events are published"),
    "event_queue_prefix": ("celeryev", _text, "How the queues of those begin who listen to events"),
    "event_queue_ttl": (5.0, _seconds, "How long an event waits to be read, in seconds"),
    "event_queue_expires": (60.0, _seconds, "How long the queue of somebody who listens outlives him, in seconds"),
    "task_protocol": (2, _only_two, "Protocol of what is sent; messages of protocol 1 are read too"),
    "task_queues": ((), _queue_names, "Queues of a worker that is given none: names, or Celery's Queue objects"),
    "worker_max_tasks_per_child": (None, _optional(_count), "After so many tasks a process is replaced by a new one"),
    "worker_max_memory_per_child": (None, _optional(_count), "Above so much memory (KiB) a process is replaced"),
    "timezone": ("UTC", _text, "Time zone of the schedules that `longshore manifests` writes"),
}
"""name → (default, parser, meaning)."""

_NOT_HERE = {
    "database_url": "write the address as result_backend, with db+ before it: db+postgresql://…",
    **dict.fromkeys(
        (
            "database_create_tables_at_setup",
            "database_engine_callback",
            "database_engine_options",
            "database_short_lived_sessions",
            "database_table_names",
            "database_table_schemas",
            "result_chord_expires",
            "result_chord_join_timeout",
            "result_chord_retry_interval",
            "task_allow_error_cb_on_chord_header",
        ),
        "it is not there yet",
    ),
}
"""Settings that nothing would honor yet."""

_ENVIRONMENT = {
    "broker_url": "LONGSHORE_BROKER_URL",
    "result_backend": "LONGSHORE_RESULT_BACKEND",
    "store_url": "LONGSHORE_STORE_URL",
}


_DEFAULTS = {name: known[0] for name, known in SETTINGS.items() if name not in {*_ENVIRONMENT, *_NOT_HERE}}


class Settings(MutableMapping[str, Any]):
    """Settings by attribute or by key. An unknown name or a wrong value is an error that says what is right.

    The environment (`LONGSHORE_BROKER_URL`, `LONGSHORE_RESULT_BACKEND`, `LONGSHORE_STORE_URL`) wins over the code: the
    same code runs on a laptop and in a pod.
    """

    _values: dict[str, Any]

    def __init__(self, values: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> None:
        object.__setattr__(self, "_values", {})
        object.__setattr__(self, "_environ", os.environ if environ is None else environ)
        self.update(values or {})

    def __getitem__(self, name: str) -> Any:
        variable = _ENVIRONMENT.get(name)
        if variable and self._environ.get(variable):
            return self._environ[variable]
        if name in self._values:
            return self._values[name]
        return _known(name)[0]

    def __setitem__(self, name: str, value: Any) -> None:
        _, parse, _ = _known(name)
        try:
            self._values[name] = parse(value)
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"setting {name}={value!r} {error}") from None

    def __delitem__(self, name: str) -> None:
        self._values.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(SETTINGS)

    def __len__(self) -> int:
        return len(SETTINGS)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._values and name not in _ENVIRONMENT:  # each send asks for several: the way for those is short
            return self._values[name]
        if name in _DEFAULTS:
            return _DEFAULTS[name]
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def is_set(self, name: str) -> bool:
        """Whether somebody gave this setting a value."""
        return bool(self[name] != SETTINGS[name][0])


_ACCEPTED = {name: (None, lambda value: value, reason) for name, reason in ACCEPTED.items()}


def _known(name: str) -> tuple[Any, Callable[[Any], Any], str]:
    known = SETTINGS.get(name) or _ACCEPTED.get(name)
    if known is None:
        if reason := _NOT_HERE.get(name) or refusal_of(name):
            raise ImproperlyConfigured(f"setting {name!r} of Celery is refused: {reason}")
        near = difflib.get_close_matches(name.lower(), SETTINGS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ImproperlyConfigured(f"unknown setting {name!r}{hint}")
    return known
