"""How a body is encoded: JSON, or YAML or msgpack by choice, compressed by choice. Pickle is never read or written.

Names and content types are kombu's, so that Celery's clients and workers read what is sent, and are read. What a
message claims to be is checked against what is accepted before a byte of it is decoded; a compressed body has a limit.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import msgspec

from longshore.exceptions import MessageError
from longshore.message import JSON, UTF8, Message, dump_body, load_body
from longshore.sealing import SEALED_HEADER, seal, unseal

YAML = "application/x-yaml"
MSGPACK = "application/x-msgpack"
CONTENT_TYPES = {"json": JSON, "yaml": YAML, "msgpack": MSGPACK}
"""Serializers by the names that settings and options use."""

JSON_ONLY = frozenset({JSON})
COMPRESSION_HEADER = "compression"
LARGEST_BODY = 256 * 1024 * 1024
"""Bytes that a compressed body may grow to: more is an attack or a mistake, and would take the worker with it."""


COMPRESSIONS = {"gzip": "application/x-gzip", "bzip2": "application/x-bz2", "lzma": "application/x-lzma"}
"""Compressions by name. kombu's "gzip" is zlib's format, whatever its content type says."""
_ALIASES = {"zlib": "gzip", "bz2": "bzip2", "xz": "lzma"}


def compression_type(name: str) -> str:
    """Return the content type of a compression, by its name or itself; raise `ValueError` with what there is."""
    name = _ALIASES.get(name, name)
    content_type = COMPRESSIONS.get(name, name)
    if content_type not in COMPRESSIONS.values():
        raise ValueError(f"compression {name!r} is not there; there is {', '.join(COMPRESSIONS)}")
    return content_type


def encoded(message: Message, value: Any, serializer: str, compression: str | None) -> Message:
    """Return the message with `value` as its body. Raises `TypeError` for what the serializer cannot hold."""
    body, encoding = _dump(value, serializer)
    headers = message.headers
    if compression is not None:
        content_type = compression_type(compression)
        body, headers = _module(content_type).compress(body), {**headers, COMPRESSION_HEADER: content_type}
    body, seals = seal(body)
    if seals:
        headers = {**headers, **seals}
    return msgspec.structs.replace(
        message, body=body, headers=headers, content_type=CONTENT_TYPES[serializer], content_encoding=encoding
    )


def decoded(message: Message, accept: frozenset[str] = JSON_ONLY) -> Any:
    """Return the value of a body; raise `MessageError` where its type is not accepted, or for garbage."""
    if message.content_type not in accept:
        known = ", ".join(sorted(accept))
        raise MessageError(f"content type {message.content_type!r} is not accepted here; accepted: {known}")
    if (version := message.headers.get(SEALED_HEADER)) is not None:
        message = msgspec.structs.replace(message, body=unseal(message.body, version))
    if (compression := message.headers.get(COMPRESSION_HEADER)) is not None:
        message = msgspec.structs.replace(message, body=_decompressed(message.body, compression))
    if message.content_type == JSON:
        return load_body(message)
    return _load_yaml(message.body) if message.content_type == YAML else _load_msgpack(message.body)


def _dump(value: Any, serializer: str) -> tuple[bytes, str]:
    if serializer == "json":
        return dump_body(value), UTF8
    try:
        if serializer == "yaml":
            import yaml

            text: str = yaml.safe_dump(value, allow_unicode=True)
            return text.encode(), UTF8
        return msgspec.msgpack.encode(value), "binary"
    except Exception as error:  # noqa: BLE001 - each library has its own
        raise TypeError(f"{serializer} cannot hold the arguments: {error}") from None


def _decompressed(body: bytes, content_type: Any) -> bytes:
    try:
        decompressor = _decompressor(compression_type(str(content_type)))
    except ValueError as error:
        raise MessageError(str(error)) from error
    try:
        whole: bytes = decompressor.decompress(body, LARGEST_BODY)
    except Exception as error:
        raise MessageError(f"body is not {content_type}, as its header says: {error}") from error
    if not decompressor.eof:
        reason = "is cut short" if len(whole) < LARGEST_BODY else f"is more than {LARGEST_BODY} bytes unpacked"
        raise MessageError(f"compressed body {reason}")
    return whole


def _module(content_type: str) -> Any:
    """Import what knows a compression, for the first message that has it."""
    names = {"application/x-gzip": "zlib", "application/x-bz2": "bz2", "application/x-lzma": "lzma"}
    return import_module(names[content_type])


def _decompressor(content_type: str) -> Any:
    module = _module(content_type)
    makers = {"zlib": "decompressobj", "bz2": "BZ2Decompressor", "lzma": "LZMADecompressor"}
    return getattr(module, makers[module.__name__])()


def _load_yaml(body: bytes) -> Any:
    import yaml

    try:
        return yaml.safe_load(body)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MessageError(f"body is not YAML: {' '.join(str(error).split())}") from error


def _load_msgpack(body: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MessageError(f"body is not msgpack: {error}") from error
