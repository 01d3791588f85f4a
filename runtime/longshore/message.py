"""The message as it is on the wire: Celery's protocol 2, whatever broker carries it.

Knows bytes, headers and properties; knows nothing of brokers, queues or tasks' code. Facts in `docs/wire-format.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from longshore.exceptions import MessageError

JSON = "application/json"
UTF8 = "utf-8"

DEAD_HEADER = "longshore-dead"
"""On a dead letter: {v, reason, message, queue, at, deliveries, exception, traceback}; replaying removes it."""
DELIVERIES_HEADER = "longshore-deliveries"
"""Started executions so far, where the broker itself has no place for the count."""
PARKED_HEADER = "longshore-parked"
"""On a message that waits for a worker that knows its task: {v, since, times}."""
SENTENCE_HEADER = "longshore-sentence"
"""On a task whose process was ended on purpose, where the broker has no other place: why it must not run again."""
WAITING_HEADER = "longshore-waiting"
"""On a message that waits for a lock or its turn under a rate limit: {v, since, times, turn}."""
ONCE_HEADER = "longshore-once"
"""On a call with an idempotency key: {v, copy}; `copy` differs between two sends. It stays with retries and replays."""
OUR_HEADERS = (DEAD_HEADER, DELIVERIES_HEADER, PARKED_HEADER, WAITING_HEADER, SENTENCE_HEADER)


class Message(msgspec.Struct, frozen=True):
    """One message: `body` as sent, `headers` (protocol 2), AMQP-like `properties` (correlation_id, priority …)."""

    body: bytes
    headers: dict[str, Any]
    properties: dict[str, Any]
    content_type: str = JSON
    content_encoding: str = UTF8

    @property
    def id(self) -> str | None:
        """The task's id, if the message is a task's."""
        value = self.headers.get("id") or self.properties.get("correlation_id")
        return value if isinstance(value, str) else None

    @property
    def priority(self) -> int:
        """0 (lowest, the default) to 9; anything else on the wire counts as the nearest of these."""
        value = self.properties.get("priority")
        return min(max(value, 0), 9) if isinstance(value, int) else 0

    def with_headers(self, changes: Mapping[str, Any]) -> Message:
        """Return a copy with these headers set; the value `None` removes one."""
        headers = {**self.headers, **changes}
        removed = {key for key, value in changes.items() if value is None}
        return msgspec.structs.replace(self, headers={k: v for k, v in headers.items() if k not in removed})


_decode = msgspec.json.Decoder().decode


def dump_body(value: Any) -> bytes:
    """Encode a body as kombu's JSON does: datetime, date, time, Decimal, UUID and bytes carry their type.

    Raises `TypeError` for what JSON cannot hold.
    """
    return _encode(value).encode()


def _special(value: Any) -> Any:
    """Encode what JSON has no form for; kombu (slow to import) is only asked for such values.

    pydantic's `SecretStr` and its like go with their secret; what is shown of the arguments masks it.
    """
    if callable(reveal := getattr(value, "get_secret_value", None)):
        return reveal()
    from kombu.utils.json import JSONEncoder

    return JSONEncoder().default(value)


_encode = json.JSONEncoder(default=_special, separators=(",", ":"), ensure_ascii=False).encode


def load_body(message: Message) -> Any:
    """Decode a JSON body; raise `MessageError` for garbage. Other encodings are `longshore.encoding`'s."""
    try:
        if b"__type__" in message.body:
            from kombu.utils.json import loads

            return loads(message.body.decode())
        return _decode(message.body)
    except msgspec.DecodeError:
        return _load_lenient(message.body)
    except (ValueError, TypeError, KeyError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"body is not readable: {error}") from error


def load_text(text: bytes) -> Any:
    """Decode JSON that carries no content type, as stored results are; raises `ValueError` for what is none."""
    if b'"__type__"' in text:
        from kombu.utils.json import loads

        return loads(text.decode())
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return json.loads(text)  # NaN and Infinity


def _load_lenient(body: bytes) -> Any:
    """The standard library's parser takes NaN and Infinity, which Celery clients do send."""
    try:
        return json.loads(body)
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"body is not JSON: {error}") from error
