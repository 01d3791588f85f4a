"""What is composed of signatures: chain, group, chord, map, starmap, chunks. The names are Celery's.

What sending one means is decided in `longshore.core.planning`; here they are only written down, linked and stamped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from longshore.core import canvas as core
from longshore.core.canvas import flat, kind_of
from longshore.exceptions import ImproperlyConfigured
from longshore.signatures import TYPES, Signature, maybe_signature, maybe_subtask, said, signature, subtask
from longshore.stamping import StampingVisitor

if TYPE_CHECKING:
    from longshore.app import Longshore

__all__ = [
    "Signature",
    "StampingVisitor",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "maybe_subtask",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]


class _Composed(Signature):
    """What is made of a list of signatures."""

    _key = "tasks"

    def adopt(self) -> None:
        """Make signatures of the dicts in it."""
        inner = core.tasks_of(self)
        self["kwargs"] = {**self["kwargs"], self._key: [maybe_signature(task, app=self.own_app) for task in inner]}

    @property
    def tasks(self) -> list[Signature]:
        """The signatures in it."""
        return self["kwargs"][self._key]  # type: ignore[no-any-return]

    @tasks.setter
    def tasks(self, tasks: Iterable[Any]) -> None:
        self["kwargs"][self._key] = [maybe_signature(task) for task in tasks]

    def inner(self) -> Iterable[Any]:
        """Return the signatures in it."""
        return self.tasks

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send it with more arguments."""
        return self.apply_async(args, kwargs)

    def __repr__(self) -> str:
        return f"{self.subtask_type}({', '.join(map(repr, self.tasks))})"


class chain(_Composed):  # noqa: N801 - Celery's name
    """Tasks one after the other: each gets the result of the one before it. ``a.s() | b.s()`` makes one too."""

    def __init__(self, *tasks: Any, app: Longshore | None = None, **options: Any) -> None:
        steps = list(_opened(_listed(tasks)))
        super().__init__("celery.chain", (), {"tasks": steps}, options, subtask_type="chain", app=app)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks)) if self.tasks else "chain()"


class group(_Composed):  # noqa: N801 - Celery's name
    """Tasks side by side; the result is the list of theirs."""

    def __init__(self, *tasks: Any, app: Longshore | None = None, **options: Any) -> None:
        listed = _listed(tasks)
        if len(listed) == 1 and kind_of(listed[0] or {}) == "group":
            listed = core.tasks_of(listed[0])
        members = [maybe_signature(task) for task in listed]
        super().__init__("celery.group", (), {"tasks": members}, options, subtask_type="group", app=app)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Send it with more arguments for every member."""
        return self.apply_async(args, **options)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send every member; the options are for each."""
        if options.get("link") or options.get("link_error"):
            raise TypeError("a group takes no links: make it a chord, or link its members")
        return super().apply_async(args, kwargs, **options)

    def link(self, callback: Any) -> Any:
        """Hang a callback on the first member, as Celery does; it gets no result. Rather make a chord."""
        fixed = signature(callback).clone().set(immutable=True)
        return self.tasks[0].link(fixed)

    def link_error(self, errback: Any) -> Any:
        """Call `errback` for every member that fails."""
        return tuple(task.link_error(signature(errback)) for task in self.tasks)

    def set_immutable(self, immutable: bool) -> None:
        """Say it of every member."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def __or__(self, other: Any) -> Any:
        """``group | task`` is a chord."""
        if not isinstance(other, Signature):
            return NotImplemented
        return self if _is_empty_group(other) else chord(self, other, app=self.own_app)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> group:
        """Delay the members more and more: `start`, `start + step`, … up to `stop`."""
        for number, task in enumerate(self.tasks):
            countdown = start + number * step
            task.set(countdown=countdown if stop is None else min(countdown, stop))
        return self


class chord(_Composed):  # noqa: N801 - Celery's name
    """A group whose results go, as one list, to another task: ``chord([a.s(), b.s()])(c.s())``."""

    _key = "header"

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = "celery.chord",
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Longshore | None = None,
        **options: Any,
    ) -> None:
        inner = {"kwargs": {}, **(kwargs or {}), "header": _header(header), "body": maybe_signature(body)}
        named = options.pop("options", None) or {}
        fields = {name: options.pop(name) for name in ("immutable",) if name in options}
        options.pop("subtask_type", None)
        super().__init__(task, args, inner, {**named, **options}, subtask_type="chord", app=app, **fields)

    def adopt(self) -> None:
        """Make signatures of the dicts in it."""
        super().adopt()
        self["kwargs"]["body"] = maybe_signature(self["kwargs"].get("body"), app=self.own_app)

    @property
    def body(self) -> Any:
        """What gets the results."""
        return self["kwargs"]["body"]

    @body.setter
    def body(self, body: Any) -> None:
        self["kwargs"]["body"] = maybe_signature(body)

    def inner(self) -> Iterable[Any]:
        """Return the signatures in it."""
        return [*self.tasks, *([self.body] if self.body is not None else [])]

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with this body."""
        return self.apply_async((), {"body": body} if body is not None else {}, **options)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send the header; the body follows when all of it has succeeded. Needs a result backend."""
        ready, rest = self._with_body(kwargs)
        return ready.app.canvases.send(ready, args or (), rest, said(options))

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run the header and the body here and now."""
        ready, rest = self._with_body(kwargs)
        return ready.app.canvases.run(ready, args or (), rest, said(options))

    def __or__(self, other: Any) -> Any:
        """``chord | task`` hangs the task on the body."""
        if not isinstance(other, Signature):
            return NotImplemented
        if self.body is None or kind_of(other) in {"group", "chain"}:
            return chain(self, other, app=self.own_app)
        longer = self.clone()
        longer["kwargs"]["body"] = longer["kwargs"]["body"] | other
        return longer

    def _with_body(self, kwargs: Mapping[str, Any] | None) -> tuple[Signature, dict[str, Any]]:
        rest = dict(kwargs or {})
        body = rest.pop("body", None) or self.body
        if body is None:
            raise ImproperlyConfigured("a chord needs a body: chord(header)(body)")
        ready = self.clone()
        ready["kwargs"]["body"] = maybe_signature(body)
        return ready, rest

    def link(self, callback: Any) -> Any:
        """Send `callback` when the body has succeeded."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Call `errback` when the body failed, or will never run because a part of the header failed."""
        self.body.link_error(errback)
        return errback

    def set_immutable(self, immutable: bool) -> None:
        """Say it of the header."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def __repr__(self) -> str:
        return f"chord([{', '.join(map(repr, self.tasks))}], {self.body!r})"


class _Map(Signature):
    _name = ""

    def __init__(self, task: Any, it: Iterable[Any], app: Longshore | None = None, **options: Any) -> None:
        sig = signature(task)
        kwargs = {"task": sig, "it": list(it)}
        super().__init__(self._name, (), kwargs, options, immutable=True, app=app or sig.own_app)


class xmap(_Map):  # noqa: N801 - Celery's name
    """One task that calls another for each item, one after the other: ``task.map([1, 2])``."""

    _name = "celery.map"


class xstarmap(_Map):  # noqa: N801 - Celery's name
    """As `xmap`, with items that are lists of arguments: ``task.starmap([(1, 2), (3, 4)])``."""

    _name = "celery.starmap"


class chunks(Signature):  # noqa: N801 - Celery's name
    """Many calls in few tasks of `n` each: ``task.chunks(zip(xs, ys), 10)``."""

    def __init__(self, task: Any, it: Iterable[Any], n: int, app: Longshore | None = None, **options: Any) -> None:
        if n < 1:
            raise ValueError(f"chunks of {n} tasks cannot be made")
        sig = signature(task)
        kwargs = {"task": sig, "it": list(it), "n": n}
        super().__init__("celery.chunks", (), kwargs, options, immutable=True, app=app or sig.own_app)

    def __call__(self, **options: Any) -> Any:
        """Send it."""
        return self.apply_async(**options)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send the chunks as a group."""
        return self.group().apply_async(args, kwargs, **{**self.options, **options})

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run the chunks here and now."""
        return self.group().apply(args, kwargs, **options)

    def group(self) -> group:
        """Return the chunks as a group of `xstarmap`."""
        task, it, n = (self.kwargs[name] for name in ("task", "it", "n"))
        parts = [it[start : start + n] for start in range(0, len(it), n)]
        return group([xstarmap(task, part, app=self.own_app) for part in parts], app=self.own_app)

    @classmethod
    def apply_chunks(cls, task: Any, it: Iterable[Any], n: int, app: Longshore | None = None) -> Any:
        """Send the chunks of a task."""
        return cls(task, it, n, app=app)()


TYPES.update(chain=chain, group=group, chord=chord, xmap=xmap, xstarmap=xstarmap, chunks=chunks)


def _listed(tasks: Sequence[Any]) -> list[Any]:
    """Return the tasks of ``chain(a, b)``, ``chain([a, b])`` or ``chain(a for …)``."""
    if len(tasks) == 1 and not isinstance(tasks[0], Mapping):
        return list(tasks[0])
    return list(tasks)


def _opened(tasks: Iterable[Any]) -> Iterator[Any]:
    for task in tasks:
        sig = maybe_signature(task)
        if isinstance(sig, chain) and not sig.options:
            yield from sig.tasks
        else:
            yield sig


def _is_empty_group(sig: Signature) -> bool:
    return kind_of(sig) == "group" and not core.tasks_of(sig)


def _header(header: Any) -> list[Any]:
    if isinstance(header, Mapping):
        composed = kind_of(header) in {"group", "chain"}
        header = core.tasks_of(header) if composed else [header]
    return [maybe_signature(task) for task in flat(maybe_signature(task) or {} for task in header)]
