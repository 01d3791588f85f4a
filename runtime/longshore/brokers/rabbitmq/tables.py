"""AMQP's field tables and basic properties: between bytes and Python values.

Pure: bytes in, values out. The types are those that RabbitMQ writes and reads (its letters differ from the AMQP 0-9-1
standard's). It knows nothing of frames, methods or messages of ours.
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from struct import Struct
from typing import Any

from longshore.exceptions import MessageError

LONGEST_SHORT_STRING = 255

OCTET = Struct(">B")
SHORT = Struct(">H")
LONG = Struct(">I")
LONGLONG = Struct(">Q")
_INT16, _INT32, _INT64 = Struct(">h"), Struct(">i"), Struct(">q")
_DOUBLE = Struct(">d")
_MOST_DECIMALS = 255

_FIXED: dict[int, Struct] = {
    ord("b"): Struct(">b"),
    ord("B"): OCTET,
    ord("s"): _INT16,
    ord("u"): SHORT,
    ord("I"): _INT32,
    ord("i"): LONG,
    ord("l"): _INT64,
    ord("L"): _INT64,
    ord("f"): Struct(">f"),
    ord("d"): _DOUBLE,
}
_STRING, _BYTES, _TABLE, _ARRAY = ord("S"), ord("x"), ord("F"), ord("A")
_BOOLEAN, _VOID, _TIMESTAMP, _DECIMAL = ord("t"), ord("V"), ord("T"), ord("D")

Decoded = tuple[Any, int]

# -- reading ---------------------------------------------------------------------------------------------------------


def read_short_string(buffer: bytes, at: int) -> tuple[str, int]:
    """Return a string of up to 255 bytes and the offset behind it."""
    end = at + 1 + buffer[at]
    return buffer[at + 1 : end].decode(errors="surrogateescape"), end


def read_table(buffer: bytes, at: int) -> tuple[dict[str, Any], int]:
    """Return a field table and the offset behind it. Text and nothing, which most headers are, are read in place."""
    (size,) = LONG.unpack_from(buffer, at)
    at += 4
    end = at + size
    table: dict[str, Any] = {}
    while at < end:
        key_end = at + 1 + buffer[at]
        key = buffer[at + 1 : key_end].decode(errors="surrogateescape")
        kind = buffer[key_end]
        if kind == _VOID:
            table[key] = None
            at = key_end + 1
        elif kind == _STRING:
            table[key], at = _read_string(buffer, key_end + 1)
        else:
            table[key], at = _read_value(buffer, key_end)
    return table, end


def _read_value(buffer: bytes, at: int) -> Decoded:
    kind = buffer[at]
    at += 1
    if kind == _STRING:
        return _read_string(buffer, at)
    if kind == _VOID:
        return None, at
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed.unpack_from(buffer, at)[0], at + fixed.size
    if kind == _ARRAY:
        return _read_array(buffer, at)
    if kind == _TABLE:
        return read_table(buffer, at)
    return _read_rare(kind, buffer, at)


def _read_string(buffer: bytes, at: int) -> Decoded:
    """Text where it is text; other clients put raw bytes into strings too."""
    (size,) = LONG.unpack_from(buffer, at)
    end = at + 4 + size
    raw = buffer[at + 4 : end]
    try:
        return raw.decode(), end
    except UnicodeDecodeError:
        return raw, end


def _read_array(buffer: bytes, at: int) -> Decoded:
    (size,) = LONG.unpack_from(buffer, at)
    at += 4
    end = at + size
    values: list[Any] = []
    while at < end:
        value, at = _read_value(buffer, at)
        values.append(value)
    return values, end


def _read_rare(kind: int, buffer: bytes, at: int) -> Decoded:
    if kind == _BOOLEAN:
        return buffer[at] != 0, at + 1
    if kind == _BYTES:
        (size,) = LONG.unpack_from(buffer, at)
        return buffer[at + 4 : at + 4 + size], at + 4 + size
    if kind == _TIMESTAMP:
        return datetime.fromtimestamp(LONGLONG.unpack_from(buffer, at)[0], UTC), at + 8
    if kind == _DECIMAL:
        return Decimal(_INT32.unpack_from(buffer, at + 1)[0]).scaleb(-buffer[at]), at + 5
    raise MessageError(f"field table holds the unknown type {chr(kind)!r}")


def skip_value(buffer: bytes, at: int) -> int:
    """Return the offset behind a value that begins with its kind."""
    return _read_value(buffer, at)[1]


# -- writing ---------------------------------------------------------------------------------------------------------


def short_string(value: str) -> bytes:
    """Encode a string of up to 255 bytes (a queue's name, a routing key, a header's key)."""
    raw = value.encode(errors="surrogateescape")
    if len(raw) > LONGEST_SHORT_STRING:
        raise MessageError(f"{value[:40]!r}… is longer than the 255 bytes that AMQP allows a name or a key")
    return OCTET.pack(len(raw)) + raw


def table(values: Mapping[str, Any]) -> bytes:
    """Encode a field table. Text and nothing, which most headers are, are written in place."""
    parts: list[bytes] = []
    for key, value in values.items():
        parts.append(_encoded_key(key))
        if value is None:
            parts.append(b"V")
        elif type(value) is str:
            raw = value.encode(errors="surrogateescape")
            parts += (b"S", LONG.pack(len(raw)), raw)
        else:
            parts.append(_value(key, value))
    inner = b"".join(parts)
    return LONG.pack(len(inner)) + inner


def _encoded_key(key: str) -> bytes:
    """Return a key as it is written; keys are few and come again, and those that do not are soon forgotten."""
    encoded = _KEYS.get(key)
    if encoded is None:
        if len(_KEYS) >= _MOST_KEYS:
            _KEYS.clear()
        encoded = _KEYS[key] = short_string(key)
    return encoded


_KEYS: dict[str, bytes] = {}
_MOST_KEYS = 1024


def _value(key: str, value: Any) -> bytes:
    encode = _ENCODERS.get(type(value))
    if encode is None:
        encode = next((known for kind, known in _ENCODERS.items() if isinstance(value, kind)), None)
    if encode is None:
        raise MessageError(
            f"header {key!r} holds a {type(value).__name__}, which AMQP cannot carry; send it in the body"
        )
    return encode(key, value)


def _long_string(_: str, value: str) -> bytes:
    raw = value.encode(errors="surrogateescape")
    return b"S" + LONG.pack(len(raw)) + raw


def _integer(key: str, value: int) -> bytes:
    if _fits(value, 32):
        return b"I" + _INT32.pack(value)
    if _fits(value, 64):
        return b"l" + _INT64.pack(value)
    raise MessageError(f"header {key!r} holds an integer of more than 64 bits, which AMQP cannot carry")


def _fits(value: int, bits: int) -> bool:
    return -(1 << bits - 1) <= value < 1 << bits - 1


def _array(key: str, values: Any) -> bytes:
    inner = b"".join(_value(key, value) for value in values)
    return b"A" + LONG.pack(len(inner)) + inner


def _decimal(key: str, value: Decimal) -> bytes:
    """AMQP's decimals hold 32 bits; a longer one travels as text."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and -_MOST_DECIMALS <= exponent <= 0:
        unscaled = int(value.scaleb(-exponent))
        if _fits(unscaled, 32):
            return b"D" + OCTET.pack(-exponent) + _INT32.pack(unscaled)
    return _long_string(key, str(value))


_ENCODERS: dict[type, Callable[[str, Any], bytes]] = {
    str: _long_string,
    bool: lambda _, value: b"t\x01" if value else b"t\x00",
    int: _integer,
    type(None): lambda _key, _value: b"V",
    float: lambda _, value: b"d" + _DOUBLE.pack(value),
    dict: lambda _, value: b"F" + table(value),
    list: _array,
    tuple: _array,
    bytes: lambda _, value: b"x" + LONG.pack(len(value)) + value,
    datetime: lambda _, value: b"T" + LONGLONG.pack(timegm(value.utctimetuple())),
    Decimal: _decimal,
}

# -- the basic class's properties, in the order of their flags ---------------------------------------------------------

_PROPERTIES: tuple[tuple[str, str], ...] = (
    ("content_type", "s"),
    ("content_encoding", "s"),
    ("headers", "F"),
    ("delivery_mode", "o"),
    ("priority", "o"),
    ("correlation_id", "s"),
    ("reply_to", "s"),
    ("expiration", "s"),
    ("message_id", "s"),
    ("timestamp", "T"),
    ("type", "s"),
    ("user_id", "s"),
    ("app_id", "s"),
    ("cluster_id", "s"),
)
FLAGS = tuple((name, kind, 1 << (15 - index)) for index, (name, kind) in enumerate(_PROPERTIES))


def read_properties(buffer: bytes) -> dict[str, Any]:
    """Decode the property list of a content header."""
    (flags,) = SHORT.unpack_from(buffer)
    at = 2
    found: dict[str, Any] = {}
    for name, kind, flag in FLAGS:
        if not flags & flag:
            continue
        if kind == "s":
            found[name], at = read_short_string(buffer, at)
        elif kind == "o":
            found[name] = buffer[at]
            at += 1
        elif kind == "F":
            found[name], at = read_table(buffer, at)
        else:
            (found[name],) = LONGLONG.unpack_from(buffer, at)
            at += 8
    return found


def properties(values: Mapping[str, Any]) -> bytes:
    """Encode a property list; names that AMQP does not know are left out, and so are values that are `None`."""
    flags = 0
    parts: list[bytes] = []
    for name, kind, flag in FLAGS:
        value = values.get(name)
        if value is not None:
            flags |= flag
            parts.append(_property(kind, value))
    return SHORT.pack(flags) + b"".join(parts)


def _property(kind: str, value: Any) -> bytes:
    if kind == "s":
        return short_string(str(value))
    if kind == "o":
        return OCTET.pack(min(max(int(value), 0), 255))
    if kind == "F":
        return table(value)
    return LONGLONG.pack(timegm(value.utctimetuple()) if isinstance(value, datetime) else int(value))
