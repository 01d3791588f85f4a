"""Stamps: headers of one's own on every task of a canvas, for finding and revoking them together.

Works on signatures as objects with `options`; a visitor sees each of them. What was said first wins: the stamp of a
chain over that of its step, a new stamp over an old one of the same signature; with `append_stamps` both are kept.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from longshore.core.canvas import as_list

if TYPE_CHECKING:
    from longshore.canvas import Signature

Stamps = dict[str, Any]
_NAMES = "stamped_headers"


class StampingVisitor:
    """Says the stamps of what it visits: each method returns headers. List under ``stamped_headers`` which of them are
    stamps; without that key, all are.
    """

    def on_signature(self, sig: Signature, **headers: Any) -> Stamps:
        """Return the stamps of one task."""
        raise NotImplementedError(f"{type(self).__name__} has no on_signature()")

    def on_group_start(self, group: Any, **headers: Any) -> Stamps:  # noqa: ARG002 - for a subclass
        """Return stamps for every member of a group."""
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:
        """Called when a group is stamped."""

    def on_chain_start(self, chain: Any, **headers: Any) -> Stamps:  # noqa: ARG002 - as above
        """Return stamps for every step of a chain."""
        return {}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:
        """Called when a chain is stamped."""

    def on_chord_header_start(self, sig: Any, **headers: Any) -> Stamps:
        """Return stamps for every part of a chord's header; as for a group, unless it is overridden."""
        return self.on_group_start(sig, **headers)

    def on_chord_header_end(self, sig: Any, **headers: Any) -> None:
        """Called when a chord's header is stamped."""
        self.on_group_end(sig, **headers)

    def on_chord_body(self, sig: Any, **headers: Any) -> Stamps:  # noqa: ARG002 - as above
        """Return stamps for a chord's body."""
        return {}

    def on_callback(self, callback: Signature, **headers: Any) -> Stamps:  # noqa: ARG002 - as above
        """Return stamps for a callback."""
        return {}

    def on_errback(self, errback: Signature, **headers: Any) -> Stamps:  # noqa: ARG002 - as above
        """Return stamps for an error callback."""
        return {}


class _Silent(StampingVisitor):
    def on_signature(self, sig: Signature, **headers: Any) -> Stamps:  # noqa: ARG002 - it has nothing to say
        return {}


def stamped(sig: Any, visitor: StampingVisitor | None, *, append_stamps: bool, **headers: Any) -> None:
    """Stamp a canvas in place."""
    _Stamping(visitor or _Silent(), append_stamps).stamp(sig, headers)


class _Stamping:
    def __init__(self, visitor: StampingVisitor, append: bool) -> None:
        self._visitor = visitor
        self._append = append

    def stamp(self, sig: Any, headers: Mapping[str, Any]) -> None:
        kind = sig.get("subtask_type")
        if kind == "chain":
            self._members(sig, headers, self._visitor.on_chain_start, self._visitor.on_chain_end)
        elif kind == "group":
            self._members(sig, headers, self._visitor.on_group_start, self._visitor.on_group_end)
        elif kind == "chord":
            start, end = self._visitor.on_chord_header_start, self._visitor.on_chord_header_end
            seen = self._members(sig, headers, start, end)
            if sig.body is not None:
                self.stamp(sig.body, self._joined(seen, self._visitor.on_chord_body(sig, **seen)))
        else:
            self._links(sig, headers)
            said = self._joined(dict(headers), self._visitor.on_signature(sig, **headers))
            sig.options.update(self._over(said, sig.options))

    def _members(self, sig: Any, headers: Mapping[str, Any], start: Any, end: Any) -> Stamps:
        said = self._joined(dict(headers), start(sig, **headers))
        self._links(sig, said)
        for task in sig.tasks:
            self.stamp(task, copy.deepcopy(said))
        end(sig, **said)
        return said

    def _links(self, sig: Any, headers: Mapping[str, Any]) -> None:
        for name, visit in (("link", self._visitor.on_callback), ("link_error", self._visitor.on_errback)):
            if name not in sig.options:
                continue
            links = sig.options[name] = [_object(sig, link) for link in as_list(sig.options[name])]
            for link in links:
                self.stamp(link, self._joined(copy.deepcopy(dict(headers)), visit(link, **headers)))

    def _joined(self, headers: Stamps, more: Stamps | None) -> Stamps:
        """Add what a visitor says to what is said already."""
        return self._merged(_named(headers), _named(more or {}))

    def _over(self, headers: Stamps, options: Mapping[str, Any]) -> Stamps:
        """Put new stamps over those that a signature has."""
        names = as_list(options.get(_NAMES))
        return self._merged(headers, {_NAMES: names, **{name: options[name] for name in names if name in options}})

    def _merged(self, first: Stamps, second: Stamps) -> Stamps:
        merged = {**second, **first}
        if self._append:
            both = (first.keys() & second.keys()) - {_NAMES}
            merged.update({name: _both(first[name], second[name]) for name in both})
        merged[_NAMES] = list(dict.fromkeys([*as_list(first.get(_NAMES)), *as_list(second.get(_NAMES))]))
        return merged


def _named(headers: Stamps) -> Stamps:
    return headers if _NAMES in headers else {**headers, _NAMES: list(headers)}


def _both(first: Any, second: Any) -> list[Any]:
    values = as_list(first)
    return values + [value for value in as_list(second) if value not in values]


def _object(sig: Any, link: Any) -> Any:
    return link if hasattr(link, "options") else sig.from_dict(link)
