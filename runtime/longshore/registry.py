"""The tasks of an app by name, and how a function becomes one. Knows nothing of brokers, settings or sending."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from longshore.apps import apps
from longshore.core.limits import check_limits
from longshore.encoding import CONTENT_TYPES
from longshore.exceptions import DuplicateTask, ImproperlyConfigured, NotRegistered
from longshore.task import Task, function_origin
from longshore.utils.imports import import_object

if TYPE_CHECKING:
    from longshore.app import Longshore


__all__ = ["TaskRegistry", "apps", "make_task"]

_PYDANTIC = ("pydantic", "pydantic_strict", "pydantic_context", "pydantic_dump_kwargs")


class TaskRegistry(Mapping[str, Task]):
    """Name → task. A second function under a name is an error that names both places."""

    def __init__(self, hidden: Mapping[str, Callable[[], Task]] | None = None) -> None:
        self._tasks: dict[str, Task] = {}
        self._hidden = dict(hidden or {})
        """Makers of tasks that are there and not listed: what Celery's wire needs."""
        self._made: dict[str, Task] = {}

    def __getitem__(self, name: str) -> Task:
        try:
            return self._tasks[name]
        except KeyError:
            if name in self._hidden:
                return self._hidden_task(name)
            raise NotRegistered(
                f"no task {name!r} is registered; known: {', '.join(sorted(self._tasks)) or 'none'}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks or name in self._hidden

    def _hidden_task(self, name: str) -> Task:
        if name not in self._made:
            self._made[name] = self._hidden[name]()
        return self._made[name]

    def register(self, task: Task) -> Task:
        """Add a task; the same function again (a module imported twice) is no duplicate."""
        other = self._tasks.get(task.name)
        if other is not None and other.origin != task.origin:
            raise DuplicateTask(
                f"two tasks are named {task.name!r}: {other.origin} and {task.origin}; give one a name="
            )
        return self._tasks.setdefault(task.name, task)


def make_task(
    app: Longshore,
    function: Callable[..., Any],
    *,
    name: str | None = None,
    bind: bool = False,
    base: type[Task] | None = None,
    **options: Any,
) -> Task:
    """Return a task object of a class of its own around a function; an unknown option is an error."""
    base = base or app.Task
    unknown = [option for option in options if not hasattr(base, option)]
    if unknown:
        raise ImproperlyConfigured(f"@app.task of {function.__qualname__}: unknown option {', '.join(sorted(unknown))}")
    try:
        check_limits(options.get("time_limit"), options.get("soft_time_limit"))
    except ValueError as error:
        raise ImproperlyConfigured(f"@app.task of {function.__qualname__}: {error}") from None
    if options.get("serializer") not in {None, *CONTENT_TYPES}:
        raise ImproperlyConfigured(
            f"task {function.__qualname__}: the serializer is one of {', '.join(CONTENT_TYPES)}; pickle is refused"
        )
    fields: dict[str, Any] = {
        **options,
        "app": app,
        "name": name or app.gen_task_name(function.__name__, function.__module__),
        "origin": function_origin(function),
        "run": _runner(base, function, options) if bind else staticmethod(_runner(base, function, options)),
        "__doc__": function.__doc__,
        "__module__": function.__module__,
        "__wrapped__": staticmethod(function),
    }
    task: Task = type(function.__name__, (base,), fields)()
    task.check_options()
    return task


def _runner(base: type[Task], function: Callable[..., Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    """Return what a run calls: the function itself, or the one that checks models around it."""
    said = {name: options.get(name, getattr(base, name)) for name in _PYDANTIC}
    if not said["pydantic"]:
        return function
    validated: Callable[..., Any] = import_object("longshore.contrib.pydantic:validated")(
        function,
        strict=said["pydantic_strict"],
        context=said["pydantic_context"],
        dump_kwargs=said["pydantic_dump_kwargs"],
    )
    return validated
