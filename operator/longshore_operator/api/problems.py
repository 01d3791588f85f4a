"""Words for what is wrong with a manifest: one line a problem, with its path, without a validator's jargon."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Location = tuple[int | str, ...]

_LONGEST_SHOWN = 60

_PHRASES = {
    "missing": "is required",
    "int_type": "must be a whole number, not {found}",
    "int_from_float": "must be a whole number, not {found}",
    "float_type": "must be a number, not {found}",
    "finite_number": "must be a number, not {found}",
    "bool_type": "must be true or false, not {found}",
    "string_type": "must be a string, not {found}",
    "list_type": "must be a list, not {found}",
    "dict_type": "must be a mapping, not {found}",
    "model_type": "must be a mapping, not {found}",
    "greater_than_equal": "must be at least {ge}, not {found}",
    "less_than_equal": "must be at most {le}, not {found}",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters long",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} items, not {actual_length}",
    "rule": "{message}",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def problems_of(error: ValidationError, model: type[BaseModel]) -> tuple[Problem, ...]:
    """Everything that a failed validation found, in the order of the manifest's fields."""
    details = error.errors(include_url=False, include_context=True)
    return tuple(dict.fromkeys(_problem(detail, model) for detail in details))


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean maxReplicas?``, or nothing where nothing is near."""
    by_small = {name.lower(): name for name in known}
    match = get_close_matches(word.lower(), by_small, n=1, cutoff=0.6)
    return f"; did you mean {by_small[match[0]]}?" if match else ""


def _problem(detail: ErrorDetails, model: type[BaseModel]) -> Problem:
    location = detail["loc"]
    if detail["type"] == "extra_forbidden":
        known = known_fields(model, location[:-1])
        return Problem(path_of(location), f"is not a known field{nearest(str(location[-1]), known)}")
    if detail["type"] == "literal_error":
        return Problem(path_of(location), _choice(detail, model))
    phrase = _PHRASES.get(detail["type"], "{msg}")
    limits = {name: _plain(limit) for name, limit in detail.get("ctx", {}).items()}
    words = {"msg": detail["msg"], "found": _shown(detail["input"]), **limits}
    return Problem(path_of(location), phrase.format(**words))


def _choice(detail: ErrorDetails, model: type[BaseModel]) -> str:
    choices = _choices(_annotation(model, detail["loc"]))
    found = detail["input"]
    hint = nearest(found, choices) if isinstance(found, str) else ""
    return f"must be one of {', '.join(choices)}, not {_shown(found)}{hint}"


def _shown(value: Any) -> str:
    """A value as a person wrote it, and short: it stands in the middle of a sentence."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool | int | float | None) else str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def _plain(limit: Any) -> Any:
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def path_of(location: Sequence[int | str]) -> str:
    """``spec.queues[0].name``, as Kubernetes writes a path."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).lstrip(".")


def known_fields(model: type[BaseModel], location: Location) -> list[str]:
    """The names on the wire of the fields that may stand at that place."""
    owner = _model_in(_annotation(model, location)) if location else model
    return [field.alias or name for name, field in owner.model_fields.items()] if owner else []


def _annotation(model: type[BaseModel], location: Location) -> Any:
    """The type of what stands at a place, reached from the model through fields and lists."""
    annotation: Any = model
    for part in location:
        owner = _model_in(annotation)
        if isinstance(part, int) or owner is None:
            continue  # an item of a list is found in the list's own annotation
        annotation = next((f.annotation for name, f in owner.model_fields.items() if (f.alias or name) == part), None)
    return annotation


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is None:
        return []
    if all(isinstance(arg, str) for arg in get_args(annotation)):
        return list(get_args(annotation))
    return next((found for inner in get_args(annotation) if (found := _choices(inner))), [])
