"""Property lists that look alike, decoded by what was learned from the first of them.

Pure. The messages of one client differ in a few strings and numbers; keys, kinds and lengths repeat. What repeats is
compared in one piece, and the rest is cut out by one `struct`: a third of the time that reading field by field takes.
A list that fits nothing learned is read field by field, so that the answer is always that of `tables.read_properties`.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from struct import Struct
from typing import Any

from longshore.brokers.rabbitmq import tables

MOST_LAYOUTS = 64
_OF_ONE_LENGTH = 4
_FULL_CREDIT, _PRICE = 200, 10
"""Learning takes as long as ten decodings, so that it is paid for by layouts that fitted: where lengths never repeat,
learning stops."""
_NUMBERS = {"b": "b", "B": "B", "s": "h", "u": "H", "I": "i", "i": "I", "l": "q", "L": "q", "f": "f", "d": "d"}
_LONGEST_PART = 4096

Properties = dict[str, Any]


class Layouts:
    """What was learned. One for a consumer; used by one thread."""

    def __init__(self) -> None:
        self._known: dict[int, list[Layout]] = {}
        self._credit = _FULL_CREDIT

    def read(self, buffer: bytes) -> Properties:
        """Decode the property list of a content header."""
        for layout in self._known.get(len(buffer), ()):
            found = layout.read(buffer)
            if found is not None:
                if self._credit < _FULL_CREDIT:
                    self._credit += 1
                return found
        properties = tables.read_properties(buffer)
        if self._credit >= _PRICE:
            self._learn(buffer, properties)
        return properties

    def _learn(self, buffer: bytes, properties: Properties) -> None:
        self._credit -= _PRICE
        if len(self._known) >= MOST_LAYOUTS:
            self._known.clear()
        layout = learn(buffer, properties)
        if layout is not None:
            alike = self._known.setdefault(len(buffer), [])
            alike[_OF_ONE_LENGTH - 1 :] = []
            alike.insert(0, layout)


class Layout:
    """Where the strings and numbers of one kind of property list are, and what else is in it."""

    __slots__ = ("_constants", "_copied", "_headers", "_names", "_numbers", "_properties", "_texts", "_unpack")

    def __init__(self, walk: _Walk, properties: Properties) -> None:
        self._unpack: Callable[[bytes], tuple[Any, ...]] = Struct(">" + "".join(walk.format)).unpack
        self._constants = tuple(walk.constants)
        self._texts: Callable[[tuple[Any, ...]], tuple[bytes, ...]] = itemgetter(*walk.header_texts, *walk.texts)
        self._names = (tuple(walk.header_texts.values()), tuple(walk.texts.values()))
        self._numbers = tuple(walk.numbers.items())
        self._headers: Properties = dict(properties["headers"])
        self._properties = {name: value for name, value in properties.items() if name != "headers"}
        self._copied = [name for name, value in self._headers.items() if isinstance(value, dict | list)]

    def read(self, buffer: bytes) -> Properties | None:
        """Decode a list of the same length; `None` where it has another layout."""
        parts = self._unpack(buffer)
        if parts[::2] != self._constants:
            return None
        headers, properties = self._headers.copy(), self._properties.copy()
        texts = map(bytes.decode, self._texts(parts))
        of_headers, of_properties = self._names
        try:
            headers.update(zip(of_headers, texts, strict=False))
            properties.update(zip(of_properties, texts, strict=False))
        except UnicodeDecodeError:
            return None
        for at, name in self._numbers:
            headers[name] = parts[at]
        for name in self._copied:
            headers[name] = headers[name].copy()
        properties["headers"] = headers
        return properties


class _Walk:
    """A walk over one property list: constants and variables in turns, from and to a constant."""

    def __init__(self, buffer: bytes) -> None:
        self.buffer = buffer
        self.at = 0
        self.keys = 0
        self.format: list[str] = []
        self.constants: list[bytes] = []
        self.header_texts: dict[int, str] = {}
        self.texts: dict[int, str] = {}
        self.numbers: dict[int, str] = {}
        self._from = 0

    def variable(self, code: str, size: int, names: dict[int, str], name: str) -> None:
        """What is here, so many bytes, differs from message to message."""
        self._constant()
        self.format.append(code)
        names[len(self.format) - 1] = name
        self.at += size
        self._from = self.at

    def end(self) -> None:
        """The rest is constant."""
        self.at = len(self.buffer)
        self._constant()

    def _constant(self) -> None:
        self.constants.append(self.buffer[self._from : self.at])
        self.format.append(f"{self.at - self._from}s")


def learn(buffer: bytes, properties: Properties) -> Layout | None:
    """Return the layout of a list that was read already; `None` for one that is not worth it, or not like others."""
    headers = properties.get("headers")
    if not isinstance(headers, dict) or not all(_is_plain(value) for value in headers.values()):
        return None
    walk = _Walk(buffer)
    (flags,) = tables.SHORT.unpack_from(buffer)
    walk.at = 2
    for name, kind, flag in tables.FLAGS:
        if flags & flag:
            if kind == "F":
                _walk_table(walk)
            elif kind == "s":
                _walk_short_string(walk, name)
            else:
                walk.at += 1 if kind == "o" else 8
    walk.end()
    several = len(walk.header_texts) + len(walk.texts) > 1  # of one, `itemgetter` makes no tuple
    return Layout(walk, properties) if several and walk.keys == len(headers) else None


def _walk_short_string(walk: _Walk, name: str) -> None:
    size = walk.buffer[walk.at]
    walk.at += 1
    walk.variable(f"{size}s", size, walk.texts, name)


def _walk_table(walk: _Walk) -> None:
    buffer = walk.buffer
    end = walk.at + 4 + tables.LONG.unpack_from(buffer, walk.at)[0]
    walk.at += 4
    while walk.at < end:
        name, walk.at = tables.read_short_string(buffer, walk.at)
        walk.keys += 1
        kind = chr(buffer[walk.at])
        if kind == "S":
            (size,) = tables.LONG.unpack_from(buffer, walk.at + 1)
            walk.at += 5
            walk.variable(f"{size}s", size, walk.header_texts, name)
        elif kind in _NUMBERS:
            code = _NUMBERS[kind]
            walk.at += 1
            walk.variable(code, Struct(">" + code).size, walk.numbers, name)
        else:
            walk.at = tables.skip_value(buffer, walk.at)


def _is_plain(value: Any) -> bool:
    """Whether a copy of one level is a copy; and text is text, not raw bytes in a string."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return not any(isinstance(inner, dict | list) for inner in value)
    return not isinstance(value, bytes) and (not isinstance(value, str) or len(value) <= _LONGEST_PART)
