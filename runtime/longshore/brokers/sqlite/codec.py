"""A message as the bytes of one row, and back: MessagePack of its parts, the usual content type left out."""

from __future__ import annotations

import msgspec

from longshore.exceptions import MessageError
from longshore.message import JSON, UTF8, Message

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def dump_message(message: Message) -> bytes:
    """Encode a message; raise `MessageError` for a header that no broker could carry."""
    try:
        if message.content_type == JSON and message.content_encoding == UTF8:
            return _encode((message.body, message.headers, message.properties))
        return _encode(
            (message.body, message.headers, message.properties, message.content_type, message.content_encoding)
        )
    except (TypeError, OverflowError) as error:
        raise MessageError(f"message {message.id} has a header or property that cannot be stored: {error}") from error


def decode_message(row: bytes) -> Message:
    """Decode what `dump_message` made. What cannot be read goes to the worker as it is, for its dead letters."""
    try:
        return Message(*_decode(row))
    except (msgspec.DecodeError, TypeError):
        return Message(body=row, headers={}, properties={}, content_type="application/octet-stream")
