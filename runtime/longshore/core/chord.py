"""When a chord's header is whole, and what its body gets: the join of parts that may come twice, late, or failed.

A part is known by (group id, index, task id): told twice, it counts once, with the value that was told first. A chord's
body is dispatched by whoever holds the claim; a claim expires, so that the death of its holder loses nothing, until
the chord is marked as done. Redis and SQLite do the same as `Progress`, each in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

CLAIM_SECONDS = 60.0
"""How long a dispatch may take before somebody else may try: much longer than a send's deadline."""
FAILED_STATES = frozenset({"FAILURE", "REVOKED"})


@dataclass(frozen=True, slots=True)
class Part:
    """One element of a header that has ended. `index` is `None` where the wire did not say."""

    group_id: str
    task_id: str
    index: int | None
    status: str
    result: Any = None

    @property
    def claimant(self) -> str:
        """Who claims the dispatch for this part: a part that is run again claims as the one before it did."""
        return f"longshore:{self.task_id}:{self.index}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not whole yet (or not known how many parts it has)."""


@dataclass(frozen=True, slots=True)
class Over:
    """The body has been dispatched."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Whole, and somebody else is dispatching the body; should that one have died, its claim expires."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Whole, and the dispatch of the body is the asker's."""

    parts: tuple[Part, ...]
    header: Any = None
    """The result tuple of a header of results within results, where a Celery client saved one."""


Counted = Waiting | Over | Taken | Whole


@dataclass(frozen=True, slots=True)
class Progress:
    """A chord as it is stored."""

    parts: dict[tuple[int | None, str], Part] = field(default_factory=dict)
    size: int | None = None
    added: frozenset[str] = frozenset()
    holder: str | None = None
    held_until: float = 0.0
    is_done: bool = False

    def start(self, size: int) -> Progress:
        """Note how many parts are on their way; saying it again changes nothing."""
        return replace(self, size=size)

    def grow(self, task_id: str) -> Progress:
        """Await one more part (`add_to_chord`); saying it again changes nothing."""
        return replace(self, added=self.added | {task_id})

    def count(self, part: Part, now: float) -> tuple[Progress, Counted]:
        """Take in a part, and say what is to be done about the body."""
        if self.is_done:
            return self, Over()
        after = replace(self, parts={(part.index, part.task_id): part, **self.parts})
        if after.size is None or len(after.parts) < after.size + len(after.added):
            return after, Waiting()
        if after.holder not in {None, part.claimant} and now < after.held_until:
            return after, Taken()
        claimed = replace(after, holder=part.claimant, held_until=now + CLAIM_SECONDS)
        return claimed, Whole(in_order(claimed.parts.values()))

    def finish(self, holder: str) -> Progress:
        """Mark the body as dispatched, if the claim is still the asker's."""
        return replace(self, is_done=True, parts={}) if self.holder == holder else self


def in_order(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Return parts by their index; those without one last, and equals by their ids."""
    return tuple(sorted(parts, key=lambda part: (part.index is None, part.index or 0, part.task_id)))


def first_failure(parts: Iterable[Part]) -> Part | None:
    """Return the first part that failed or was revoked."""
    return next((part for part in parts if part.status in FAILED_STATES), None)


def chord_error_text(part: Part) -> str:
    """Return what a ChordError says of the part that broke its chord, as Celery says it."""
    stored = part.result
    if not isinstance(stored, dict) or "exc_type" not in stored:
        return f"Dependency {part.task_id} raised {stored!r}"
    arguments = stored.get("exc_message")
    arguments = arguments if isinstance(arguments, list | tuple) else [arguments]
    shown = ", ".join(map(repr, arguments))
    return f"Dependency {part.task_id} raised {stored['exc_type']}({shown})"
