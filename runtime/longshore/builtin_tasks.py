"""The tasks that every app has, under the names that Celery's wire gives them. They are registered, and not listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from longshore.canvas import chunks, maybe_signature, signature
from longshore.core.chord import Part
from longshore.core.settle import READY_STATES
from longshore.exceptions import ImproperlyConfigured, MaxRetriesExceededError
from longshore.registry import make_task
from longshore.task import Task

if TYPE_CHECKING:
    from longshore.app import Longshore

UNLOCK_SECONDS = 1.0
SLOWEST_UNLOCK_SECONDS = 30.0
DEFAULT_WAIT_SECONDS = 86_400.0
"""How long the parts of a chord are waited for where results never expire."""


def builtin_tasks(app: Longshore) -> Mapping[str, Callable[[], Task]]:
    """Return the makers of the tasks, by name."""

    def maker(name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> Callable[[], Task]:
        return lambda: make_task(app, function, name=name, base=Task, **options)

    return {name: maker(name, function, options) for name, (function, options) in _TASKS.items()}


def _map(self: Task, task: Any, it: list[Any]) -> list[Any]:
    called = signature(task, app=self.app).type
    return [called(item) for item in it]


def _starmap(self: Task, task: Any, it: list[Any]) -> list[Any]:
    called = signature(task, app=self.app).type
    return [called(*item) for item in it]


def _chunks(self: Task, task: Any, it: list[Any], n: int) -> Any:
    return chunks(signature(task, app=self.app), it, n, app=self.app)().as_tuple()


def _accumulate(*args: Any, index: int | None = None) -> Any:
    """Return what came in: the end of a group where one result is needed."""
    return list(args) if index is None else args[index]


def _group(
    self: Task, tasks: list[Any], result: Any, group_id: str, partial_args: list[Any], add_to_parent: bool = True
) -> Any:
    """Celery before 3.1 sent groups so."""
    for task in tasks:
        sig = signature(task, app=self.app)
        sig.apply_async(tuple(partial_args), group_id=group_id, add_to_parent=False)
    if add_to_parent:
        self.add_trail(self.app.result_from_tuple(result))
    return result


def _chain(*_: Any, **__: Any) -> NoReturn:
    raise ImproperlyConfigured("a chain is no task of its own; whoever sends one sends its first step")


def _chord(self: Task, header: Any, body: Any, partial_args: list[Any] | None = None, **options: Any) -> Any:
    """Celery before 3.1 sent chords so."""
    from longshore.canvas import chord

    ignored = {"interval", "countdown", "max_retries", "eager", "kwargs"}
    said = {name: value for name, value in options.items() if name not in ignored}
    return chord(header, maybe_signature(body), app=self.app).apply_async(tuple(partial_args or ()), **said).as_tuple()


def _unlock(
    self: Task,
    group_id: str,
    callback: Any,
    interval: float | None = None,
    max_retries: int | None = None,
    result: list[Any] | None = None,
    **_: Any,
) -> None:
    """Look whether every part of a chord has ended, again and again: for result backends that cannot join chords."""
    parts = self.app.canvases.parts_of(group_id, result or [])
    if any(part.status not in READY_STATES for part in parts):
        _look_again(self, group_id, callback, interval, max_retries)
    last = parts[-1] if parts else Part(group_id, str(self.request.id), 0, "SUCCESS")
    self.app.canvases.chord_ended(last, callback, parts, result, self.request.root_id)


def _look_again(self: Task, group_id: str, callback: Any, interval: float | None, max_retries: int | None) -> NoReturn:
    tries = self.request.retries
    delay = interval or min(UNLOCK_SECONDS * 1.1**tries, SLOWEST_UNLOCK_SECONDS)
    limit = max_retries if max_retries is not None else _tries_within(self.app.conf.result_expires, interval)
    if tries >= limit:
        text = f"the parts of chord {group_id} have not ended after {tries} looks"
        part = Part(group_id, str(self.request.id), 0, "FAILURE")
        self.app.canvases.chord_broken(part, callback, text, self.request.root_id)
        raise MaxRetriesExceededError(text)
    raise self.retry(countdown=delay, max_retries=None)


def _tries_within(seconds: float | None, interval: float | None) -> int:
    """Results are gone when they expire: nobody needs to wait longer than that."""
    return int((seconds or DEFAULT_WAIT_SECONDS) / (interval or SLOWEST_UNLOCK_SECONDS)) + 40


def _backend_cleanup() -> None:
    """Celery sends it once a day; here results expire by themselves."""


_BOUND: Mapping[str, Any] = {"bind": True}
_TASKS: Mapping[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {
    "celery.accumulate": (_accumulate, {}),
    "celery.map": (_map, _BOUND),
    "celery.starmap": (_starmap, _BOUND),
    "celery.chunks": (_chunks, _BOUND),
    "celery.group": (_group, _BOUND),
    "celery.chain": (_chain, {}),
    "celery.chord": (_chord, _BOUND),
    "celery.chord_unlock": (_unlock, {"bind": True, "max_retries": None, "ignore_result": True, "acks_late": True}),
    "celery.backend_cleanup": (_backend_cleanup, {"ignore_result": True}),
}
