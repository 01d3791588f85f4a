"""What a task can do with signatures: make them, take another one's place, add to its chord. A part of `Task`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from longshore.core.canvas import Sig, kind_of, tasks_of
from longshore.core.planning import ids_after
from longshore.exceptions import BackendError, ImproperlyConfigured, Replaced
from longshore.results.port import ChordBackend
from longshore.signatures import TYPES, Signature

if TYPE_CHECKING:
    from longshore.app import Longshore


class Composing:
    """Methods of a task about signatures."""

    app: Longshore
    name: str
    trail: bool

    if TYPE_CHECKING:

        @property
        def request(self) -> Any:
            """The call that runs now."""

    def signature(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Signature:
        """Return a signature of this task; options are those of `apply_async`, or ``options={…}``, ``immutable=``."""
        immutable = options.pop("immutable", False)
        said = {**(options.pop("options", None) or {}), **options}
        return Signature(self.name, args, kwargs, said, immutable=immutable, app=self.app)

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a signature with these arguments: ``add.s(2)``."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """Return an immutable signature: it does not take the result of what came before it."""
        return self.signature(args, kwargs, immutable=True)

    def map(self, it: Iterable[Any]) -> Any:
        """Return a signature of one task that calls this one for each item."""
        make: Any = TYPES["xmap"]
        return make(self.s(), it, app=self.app)

    def starmap(self, it: Iterable[Any]) -> Any:
        """As `map`, with items that are lists of arguments."""
        make: Any = TYPES["xstarmap"]
        return make(self.s(), it, app=self.app)

    def chunks(self, it: Iterable[Any], n: int) -> Any:
        """Return a signature that calls this task for each item, in tasks of `n` items."""
        make: Any = TYPES["chunks"]
        return make(self.s(), it, n, app=self.app)

    # -- inside a run ------------------------------------------------------------------------------------------------

    def replace(self, sig: Signature) -> NoReturn:
        """Let another signature take this task's place: it gets its id, its callbacks, and what comes after it.

        The run ends here: ``raise self.replace(other.s())`` says so to the reader.
        """
        if self.request.called_directly:
            raise ImproperlyConfigured(f"replace() of {self.name} outside a run: the task was called as a function")
        if "chord" in sig.options:
            raise ImproperlyConfigured("a signature that replaces a task must not be a part of a chord")
        if kind_of(sig) == "chain" and not tasks_of(sig):
            raise ImproperlyConfigured("an empty chain cannot replace a task")
        self.on_replace(sig)

    def on_replace(self, sig: Signature) -> NoReturn:
        """Called by `replace` with what takes this task's place; override it to look at it, and call it then."""
        raise Replaced(sig)

    def add_to_chord(self, sig: Signature, lazy: bool = False) -> Any:
        """Add a signature to the chord that this task is a part of: its body waits for it, too.

        Sends it and returns its result; with `lazy` it returns the signature, to be sent by you.
        """
        request = self.request
        if not request.chord or not request.group:
            raise ValueError(f"task {self.name}[{request.id}] is not a part of a chord")
        backend = self.app.backend
        if not isinstance(backend, ChordBackend):
            raise BackendError("this result backend cannot add to a chord; Redis and SQLite can")
        request.added += 1
        new_id = next(ids_after(request.id, "added", request.added))  # the same one when this task runs again
        sig.set(root_id=request.root_id or request.id)
        result = sig.freeze(new_id, group_id=request.group, chord=request.chord, group_index=request.group_index)
        backend.grow_chord(request.group, result.id, expires=self.app.conf.result_expires)
        if lazy:
            return sig
        sig.delay()
        return result

    def add_trail(self, result: Any) -> Any:
        """Keep a result as one of this run's children."""
        if self.trail:
            self.request.children.append(result.as_tuple())
        return result

    def calls_back_in_place(self, errback: Sig) -> bool:
        """Whether this task, as an error callback, is called with (request, exception, traceback) where the failure
        happened. One to which a single argument is left, or that is bound, is sent as a task with the failed one's id.
        """
        run = inspect.getattr_static(self, "run")
        if not isinstance(run, staticmethod):
            return False
        try:
            parameters = inspect.signature(run.__func__).parameters.values()
        except (TypeError, ValueError):
            return False
        stored = () if errback.get("immutable") else (*(errback.get("args") or ()), *(errback.get("kwargs") or ()))
        positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
        return len(positional) - len(stored) > 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
