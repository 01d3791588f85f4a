"""Tasks whose arguments and results are pydantic models: ``@app.task(pydantic=True)``.

On the wire they are plain JSON; the function gets and returns models. Imported by the first task that asks for it.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter

from longshore.exceptions import ImproperlyConfigured


def validated(
    function: Callable[..., Any],
    *,
    strict: bool | None = None,
    context: Mapping[str, Any] | None = None,
    dump_kwargs: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """Return `function` with its model arguments validated by their annotations, and a model that it returns dumped."""
    checks = _Checks(function, strict, dict(context or {}), {"mode": "json", **(dump_kwargs or {})})
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            bound = checks.bound(args, kwargs)
            return checks.dumped(await function(*bound.args, **bound.kwargs))

        return run_async

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        bound = checks.bound(args, kwargs)
        return checks.dumped(function(*bound.args, **bound.kwargs))

    return run


class _Checks:
    """What one function's annotations ask for; resolved at the first call, when every name in them exists."""

    def __init__(
        self, function: Callable[..., Any], strict: bool | None, context: dict[str, Any], dump_kwargs: dict[str, Any]
    ) -> None:
        self._function = function
        self._signature = inspect.signature(function)
        self._strict = strict
        self._context = context
        self._dump_kwargs = dump_kwargs

    @functools.cached_property
    def _adapters(self) -> dict[str, TypeAdapter[Any]]:
        try:
            hints = typing.get_type_hints(self._function)
        except NameError as error:
            raise ImproperlyConfigured(f"pydantic task {self._function.__qualname__}: annotation: {error}") from None
        return {name: TypeAdapter(hint) for name, hint in hints.items() if name != "return" and _has_model(hint)}

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        """Return the arguments with models in them; raise pydantic's `ValidationError`, which names the field."""
        bound = self._signature.bind(*args, **kwargs)
        for name, adapter in self._adapters.items():
            if name in bound.arguments:
                bound.arguments[name] = self._validated(name, adapter, bound.arguments[name])
        return bound

    def _validated(self, name: str, adapter: TypeAdapter[Any], value: Any) -> Any:
        def check(one: Any) -> Any:
            return adapter.validate_python(one, strict=self._strict, context=self._context)

        match self._signature.parameters[name].kind:
            case inspect.Parameter.VAR_POSITIONAL:
                return tuple(check(one) for one in value)
            case inspect.Parameter.VAR_KEYWORD:
                return {key: check(one) for key, one in value.items()}
        return check(value)

    def dumped(self, value: Any) -> Any:
        """Return a result as it is stored."""
        return value.model_dump(**self._dump_kwargs) if isinstance(value, BaseModel) else value


def _has_model(hint: Any) -> bool:
    """Whether an annotation is a model, or has one in it, as in ``Order | None`` or ``list[Order]``."""
    if isinstance(hint, type) and not typing.get_origin(hint):
        return issubclass(hint, BaseModel)
    return any(_has_model(part) for part in typing.get_args(hint))
