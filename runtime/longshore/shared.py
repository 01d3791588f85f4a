"""The current app, and the tasks of libraries that have no app of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

from longshore.app import Longshore
from longshore.registry import apps, make_task
from longshore.task import Task


@overload
def shared_task(function: Callable[..., Any], /) -> Task: ...
@overload
def shared_task(name: str | None = None, /, **options: Any) -> Callable[[Callable[..., Any]], Task]: ...
def shared_task(function: Any = None, /, **options: Any) -> Any:
    """Make a function a task of every app, those to come included; for libraries that have no app of their own.

    ``@shared_task("name")`` is accepted too.
    """
    if isinstance(function, str):
        options, function = {**options, "name": function}, None
    if function is None:
        return lambda f: _share(f, options)
    return _share(function, options)


def _share(function: Callable[..., Any], options: Mapping[str, Any]) -> Task:
    def declare(app: Longshore) -> Task:
        return app.tasks.register(make_task(app, function, **options))

    apps.share(declare)
    name = options.get("name")
    proxy: Task = _SharedTask(function, name, declare)  # type: ignore[assignment]  # it forwards everything to a Task
    return proxy


class _SharedTask:
    """Stands for a shared task in the module that defines it: whatever is asked goes to the current app's task."""

    def __init__(self, function: Callable[..., Any], name: str | None, declare: Callable[[Longshore], Task]) -> None:
        self.__wrapped__ = function
        self.__doc__ = function.__doc__
        self._name = name
        self._declare = declare

    def _task(self) -> Task:
        app = get_current_app()
        name = self._name or app.gen_task_name(self.__wrapped__.__name__, self.__wrapped__.__module__)
        task = app.tasks.get(name)
        return task if task is not None else self._declare(app)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._task()(*args, **kwargs)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._task(), attribute)

    def __repr__(self) -> str:
        return f"<@shared_task: {self._name or self.__wrapped__.__qualname__}>"


def get_current_app() -> Longshore:
    """Return the app made last; a process without one gets one with default settings."""
    return apps.current if apps.current is not None else Longshore("default")


class _CurrentApp:
    """`current_app`: whatever is asked goes to the current app."""

    def __getattr__(self, attribute: str) -> Any:
        return getattr(get_current_app(), attribute)

    def __repr__(self) -> str:
        return repr(get_current_app())


current_app: Longshore = _CurrentApp()  # type: ignore[assignment]  # it forwards everything to a Longshore
