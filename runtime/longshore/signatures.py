"""The signature of a call: a dict, so that it can be sent as an argument and read by Celery; the names are Celery's.

What sending one means is decided in `longshore.core.planning`; the app carries it out. The composed ones (chain, group,
chord) are in `longshore.canvas`, and make themselves known here.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from longshore.apps import apps
from longshore.core import canvas as core
from longshore.core.canvas import as_list
from longshore.stamping import StampingVisitor, stamped

if TYPE_CHECKING:
    from longshore.app import Longshore

TYPES: dict[str, type[Signature]] = {}
"""The classes of signatures that are more than one call, by name."""
COMPOSED = frozenset({"chain", "group", "chord"})


def _item(name: str, meaning: str) -> Any:
    def get(sig: dict[str, Any]) -> Any:
        return sig[name]

    def put(sig: dict[str, Any], value: Any) -> None:
        sig[name] = value

    return property(get, put, doc=meaning)


def _option(name: str, meaning: str) -> Any:
    return property(lambda sig: sig["options"].get(name), doc=meaning)


class Signature(dict[str, Any]):
    """One call that is not sent yet: a task's name, arguments and options. Made by `Task.s` or `signature`."""

    own_app: Longshore | None = None
    """The app that somebody gave it."""

    task = _item("task", "The task's name.")
    args = _item("args", "Positional arguments.")
    kwargs = _item("kwargs", "Keyword arguments.")
    options = _item("options", "Options of `apply_async`.")
    subtask_type = _item("subtask_type", "chain, group or chord; `None` for one task.")
    immutable = _item("immutable", "Whether it takes no more arguments.")
    id = _option("task_id", "The id, once it has one.")
    parent_id = _option("parent_id", "The id of the task that sends it.")
    root_id = _option("root_id", "The id of the task that all began with.")

    def __init__(
        self,
        task: Any = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,  # noqa: A002 - Celery's name
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Longshore | None = None,
        **more: Any,
    ) -> None:
        if isinstance(task, dict):
            super().__init__(task)
        else:
            name = str(getattr(task, "name", task) or getattr(type, "name", None))
            options = {**(options or {}), **more}
            super().__init__(
                core.make_signature(name, args or (), kwargs, options, subtask_type=subtask_type, immutable=immutable)
            )
        self.own_app = app or getattr(type, "app", None) or getattr(task, "app", None)

    @classmethod
    def from_dict(cls, sig: Mapping[str, Any], app: Longshore | None = None) -> Signature:
        """Return the signature of a dict, of the class that its type asks for."""
        kind = sig.get("subtask_type")
        made_by = TYPES[kind] if kind in COMPOSED else Signature
        made = made_by.__new__(made_by)
        dict.__init__(made, core.make_signature(sig["task"]), **sig)
        made.own_app = app if app is not None else getattr(sig, "own_app", None)
        made["options"] = dict(made["options"] or {})
        made.adopt()
        return made

    def adopt(self) -> None:
        """Make the dicts inside signatures."""

    # -- what it belongs to ------------------------------------------------------------------------------------------

    @property
    def app(self) -> Longshore:
        """The app that sends it: its own, that of something in it, or the current one."""
        return self.find_app() or apps.require()

    def find_app(self) -> Longshore | None:
        """Return its own app, or that of something in it."""
        return self.own_app or next((app for inner in self.inner() if (app := _app_of(inner))), None)

    def inner(self) -> Iterable[Any]:
        """Return the signatures in it."""
        return ()

    @property
    def type(self) -> Any:
        """The task itself, which must be registered."""
        return self.app.tasks[self["task"]]

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self["task"])

    # -- calling -----------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task in this process, as a function."""
        args, kwargs, _ = core.merged(self, args, kwargs)
        return self.type(*args, **kwargs)

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Send it with more arguments; the short form of `apply_async(args, kwargs)`."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send it: new arguments go before its own, new keywords and options win. Returns its result's handle."""
        return self.app.canvases.send(self, args or (), kwargs or {}, said(options))

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run it here and now, with all that follows, and return its result."""
        return self.app.canvases.run(self, args or (), kwargs or {}, said(options))

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Give it its ids now, and return its result's handle; sent later, it has them."""
        place = {"task_id": _id, "group_id": group_id, "chord": chord, "group_index": group_index}
        self.options.update(said({"root_id": root_id, "parent_id": parent_id}))
        return self.app.canvases.freeze(self, said(place))

    def __invert__(self) -> Any:
        return self.apply_async().get()

    # -- changing ----------------------------------------------------------------------------------------------------

    def clone(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Signature:
        """Return a copy with more arguments and options."""
        new_args, new_kwargs, new_options = core.merged(self, args or (), kwargs, options)
        changes = {"args": new_args, "kwargs": _copied(new_kwargs), "options": copy.deepcopy(new_options)}
        return Signature.from_dict({**self, **changes}, app=self.own_app)

    partial = clone

    def replace(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Signature:
        """Return a copy with other arguments or options instead of its own."""
        changes = {"args": args, "kwargs": kwargs, "options": options}
        cloned = self.clone()
        cloned.update({name: value for name, value in changes.items() if value is not None})
        return cloned

    def set(self, immutable: bool | None = None, **options: Any) -> Signature:
        """Set options, such as ``countdown=10``; returns itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Say whether it takes more arguments."""
        self.immutable = immutable

    def link(self, callback: Any) -> Any:
        """Send `callback` with the result when this has succeeded; returns the callback."""
        return self._append("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Call `errback` when this has failed; returns it."""
        return self._append("link_error", errback)

    def on_error(self, errback: Any) -> Signature:
        """As `link_error`, and returns itself."""
        self.link_error(errback)
        return self

    def _append(self, name: str, link: Any) -> Any:
        links = self.options[name] = as_list(self.options.get(name))
        if link not in links:
            links.append(link)
        return link

    def flatten_links(self) -> list[Signature]:
        """Return itself, its callbacks, theirs, and so on."""
        links = [maybe_signature(link) for link in as_list(self.options.get("link"))]
        return [self, *itertools.chain.from_iterable(link.flatten_links() for link in links if link is not None)]

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any) -> Signature:
        """Add headers of one's own to every task in it, and to those that they call; `visitor` may say which."""
        stamped(self, visitor, append_stamps=append_stamps, **headers)
        return self

    # -- composing ---------------------------------------------------------------------------------------------------

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, Signature):
            return NotImplemented
        make_chain: Any = TYPES["chain"]
        return make_chain(self, other, app=self.own_app)

    def __ior__(self, other: Any) -> Any:
        return self.__or__(other)

    # -- showing -----------------------------------------------------------------------------------------------------

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """Return how the call would be written."""
        args, kwargs, _ = core.merged(self, args, kwargs, force=True)
        shown = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        return f"{self['task']}({', '.join(shown)})"

    def __repr__(self) -> str:
        return self.reprcall()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Signature.from_dict, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Signature:
        return self.clone()

    def __json__(self) -> dict[str, Any]:
        return dict(self)


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature:
    """Return a signature: of a task or its name, of a dict, or a copy of a signature."""
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, Mapping):
        return Signature.from_dict(varies, app=kwargs.get("app"))
    return Signature(varies, *args, **kwargs)


subtask = signature
"""Celery's old name."""


def maybe_signature(varies: Any, app: Longshore | None = None, clone: bool = False) -> Signature | None:
    """Return a signature as it is, one of a dict, and `None` for `None`."""
    if varies is None:
        return None
    if isinstance(varies, Signature):
        found = varies.clone() if clone else varies
        found.own_app = found.own_app or app
        return found
    return Signature.from_dict(varies, app=app)


maybe_subtask = maybe_signature


def said(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that have a value."""
    return {name: value for name, value in options.items() if value is not None}


def _app_of(inner: Any) -> Longshore | None:
    return inner.find_app() if isinstance(inner, Signature) else None


def _copied(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the signatures of a composed one; other arguments stay the same objects."""
    return {name: _copied_value(value) for name, value in kwargs.items()}


def _copied_value(value: Any) -> Any:
    if isinstance(value, Signature):
        return value.clone()
    if isinstance(value, list) and value and all(isinstance(one, Signature) for one in value):
        return [one.clone() for one in value]
    return value
