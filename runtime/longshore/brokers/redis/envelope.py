"""A message as kombu lays it out in a Redis list, both ways.

Knows the envelope's fields (`docs/wire-format.md`); knows no server. Reading never fails: what is no envelope becomes a
message whose content type nobody accepts, so that it ends among the dead letters with a reason, not in a crash.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from itertools import count
from time import time
from typing import Any

import msgspec

from longshore.message import JSON, SENTENCE_HEADER, UTF8, Message

UNREADABLE = "application/x-longshore-unreadable"
"""The content type of a list element that is no envelope; the body is the element as it was."""

_TRANSPORT_PROPERTIES = ("body_encoding", "delivery_tag", "delivery_info")
_LANES = "0003336669"


class _Envelope(msgspec.Struct):
    """Field order is the order on the wire; the scripts find `longshore-at` at the end."""

    body: bytes
    content_encoding: str | None = msgspec.field(name="content-encoding")
    content_type: str | None = msgspec.field(name="content-type")
    headers: dict[str, Any] | None
    properties: dict[str, Any]
    at: float | None = msgspec.field(name="longshore-at", default=None)
    """Since when it is ready, by the sender's clock; a key that kombu leaves alone."""
    sentence: str | msgspec.UnsetType = msgspec.field(name="longshore-sentence", default=msgspec.UNSET)
    """Why its task must not run again; `release.lua` puts it at the front."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Envelope).decode


def lane(message: Message) -> str:
    """Return the priority step of a message, one of 0, 3, 6, 9, as its list is named."""
    return _LANES[message.priority]


def encode(queue: str, message: Message, due_at: float | None = None) -> bytes:
    """Return the list element for a message; raises `TypeError` for what JSON cannot hold."""
    properties = {
        "delivery_mode": 2,
        "priority": 0,
        **message.properties,
        "body_encoding": "base64",
        "delivery_tag": _new_tag(),
        "delivery_info": {"exchange": "", "routing_key": queue},
    }
    now = time()
    at = now if due_at is None else max(due_at, now)
    envelope = _Envelope(message.body, message.content_encoding, message.content_type, message.headers, properties, at)
    try:
        return _encode(envelope)
    except UnicodeEncodeError:  # a lone surrogate, which JSON may carry as an escape
        return json.dumps(msgspec.to_builtins(envelope)).encode()


class _Tags:
    """Delivery tags as kombu's, UUIDs in form: random for each process, then counted."""

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        text = os.urandom(10).hex()
        self._head = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:]}"
        self._count = count()

    def new(self) -> str:
        return f"{self._head}-{next(self._count):012x}"


_new_tag = _Tags().new


def decode(element: bytes) -> tuple[Message, bool]:
    """Return the message in a list element, and whether Celery marked it as redelivered."""
    try:
        envelope = _decode(element)
        if envelope.properties.get("body_encoding") == "base64":
            return _message(envelope)
    except msgspec.DecodeError:
        pass
    try:
        return _message(_lenient(element))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Message(
            body=element, headers={}, properties={}, content_type=UNREADABLE, content_encoding="binary"
        ), False


def _message(envelope: _Envelope) -> tuple[Message, bool]:
    properties = envelope.properties
    info = properties.get("delivery_info")
    for name in _TRANSPORT_PROPERTIES:
        properties.pop(name, None)
    redelivered = isinstance(info, dict) and info.get("redelivered") is True
    headers = envelope.headers or {}
    if envelope.sentence is not msgspec.UNSET:
        headers[SENTENCE_HEADER] = envelope.sentence
    message = Message(
        envelope.body,
        headers,
        properties,
        envelope.content_type or JSON,
        envelope.content_encoding or UTF8,
    )
    return message, redelivered


def _lenient(element: bytes) -> _Envelope:
    """The standard library's parser takes NaN; a body may also be plain text."""
    fields = json.loads(element)
    properties, headers = fields["properties"], fields.get("headers")
    if not isinstance(properties, dict) or not isinstance(headers, dict | None):
        raise TypeError("not an envelope")
    text = fields.get("body") or ""
    body = b64decode(text, validate=True) if properties.get("body_encoding") == "base64" else text.encode()
    return _Envelope(body, fields.get("content-encoding"), fields.get("content-type"), headers, properties)
