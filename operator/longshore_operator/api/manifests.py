"""From a manifest to a resource, or to a list of what is wrong with it, in lines for a person.

Refuses what the API server refuses, in the same words where the words are ours. It knows no files and no cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from longshore.exceptions import ImproperlyConfigured
from longshore_operator.api.base import API_VERSION, GROUP, Model
from longshore_operator.api.cronschedule import CronSchedule
from longshore_operator.api.problems import Problem, nearest, problems_of
from longshore_operator.api.rules import ChangeRule
from longshore_operator.api.taskqueue import TaskQueue
from longshore_operator.api.workerpool import WorkerPool

AnyResource = TaskQueue | WorkerPool | CronSchedule

KINDS: dict[str, type[TaskQueue | WorkerPool | CronSchedule]] = {
    "TaskQueue": TaskQueue,
    "WorkerPool": WorkerPool,
    "CronSchedule": CronSchedule,
}

_FREE_FIELDS = frozenset({"template", "args", "kwargs"})


@dataclass(eq=False)
class InvalidManifest(ImproperlyConfigured):
    """A manifest that cannot be what it says it is. A rule about a whole is judged once its parts are right."""

    subject: str
    """``WorkerPool default/shop``, as far as it is known."""
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.subject} is invalid:", *(f"  {problem}" for problem in self.problems)])


def parse(manifest: Mapping[str, Any], *, unknown_fields: Literal["refuse", "ignore"] = "refuse") -> AnyResource:
    """Return the resource that a manifest describes, with defaults filled in; else raise `InvalidManifest`.

    An object that comes from an API server is read with `unknown_fields="ignore"`: the server has checked it, and a
    field that only a newer operator knows must not stop this one.
    """
    model = _model_of(manifest)
    try:
        return model.model_validate(
            _without_nulls(manifest),
            by_alias=True,
            by_name=False,
            extra="ignore" if unknown_fields == "ignore" else None,
        )
    except ValidationError as error:
        raise InvalidManifest(_subject(manifest), problems_of(error, model)) from None


def is_ours(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is of Longshore's group, whatever its version."""
    return str(manifest.get("apiVersion", "")).partition("/")[0] == GROUP


def check_change(old: AnyResource, new: AnyResource) -> None:
    """Raise `InvalidManifest` where an update changes what is immutable."""
    problems = tuple(_broken_changes(old, new, ""))
    if problems:
        raise InvalidManifest(_subject(new.to_wire()), problems)


def _model_of(manifest: Mapping[str, Any]) -> type[TaskQueue | WorkerPool | CronSchedule]:
    version, kind = manifest.get("apiVersion"), str(manifest.get("kind"))
    if version != API_VERSION:
        problem = Problem("apiVersion", f"must be {API_VERSION}, not {version!r}")
        raise InvalidManifest(_subject(manifest), (problem,))
    if kind not in KINDS:
        problem = Problem("kind", f"must be one of {', '.join(KINDS)}, not {kind!r}{nearest(kind, KINDS)}")
        raise InvalidManifest(_subject(manifest), (problem,))
    return KINDS[kind]


def _subject(manifest: Mapping[str, Any]) -> str:
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return f"{manifest.get('kind') or 'manifest'} {name or '(without a name)'}"


def _without_nulls(value: Any) -> Any:
    """Leave out what is null, as the API server does before it fills in defaults; what is the user's own stays."""
    if isinstance(value, Mapping):
        return {
            key: inner if key in _FREE_FIELDS else _without_nulls(inner)
            for key, inner in value.items()
            if inner is not None
        }
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _broken_changes(old: Model, new: Model, path: str) -> Iterator[Problem]:
    for rule in new.change_rules:
        if not rule.holds(old, new):
            yield Problem(_at(path, rule), rule.message)
    for name, field in type(new).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, Model) and isinstance(after, Model):
            yield from _broken_changes(before, after, f"{path}{field.alias}.")


def _at(path: str, rule: ChangeRule) -> str:
    return f"{path}{rule.field}".rstrip(".")
