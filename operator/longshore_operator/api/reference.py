"""The reference of the three kinds as a page, made from the models: what the CRDs say, in tables for reading.

`python -m longshore_operator.api.reference > docs/reference/resources.md` writes it; a test says that it is current.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from longshore_operator.api.base import API_VERSION
from longshore_operator.api.conditions import CONDITION_TYPES, Reason
from longshore_operator.api.crd import DEFINITIONS, Definition, object_schema
from longshore_operator.api.meanings import CONDITION_MEANING, REASON_MEANING
from longshore_operator.api.schema import Schema

_INTRODUCTION = f"""# Resources

<!-- Made by `python -m longshore_operator.api.reference`; do not edit. -->

Three kinds in `{API_VERSION}`, all namespaced. `kubectl get longshore` lists them together, `kubectl
explain` shows what is written here. Durations are in seconds. A field that is not required may be left out.
"""


@dataclass(frozen=True)
class FieldRow:
    """One field as the reference shows it."""

    path: str
    type: str
    default: str
    description: str


def resources_reference() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, *(_kind(definition) for definition in DEFINITIONS), _reasons()]
    return "\n".join(parts)


def _kind(definition: Definition) -> str:
    schema = object_schema(definition.model)
    properties = schema["properties"]
    sections = [
        f"## {definition.kind}\n\n{schema['description']} Short name: `{definition.short_name}`.\n",
        _fields("Spec", properties["spec"], "spec"),
        _rules(schema),
        _fields("Status", properties["status"], "status"),
        _conditions(definition.kind),
        _columns(definition),
    ]
    return "\n".join(section for section in sections if section)


def _fields(title: str, schema: Schema, path: str) -> str:
    rows = [
        (f"`{row.path}`", row.type, row.default, row.description) for row in field_rows(schema, f"{path}.") if row.path
    ]
    return f"### {title}\n\n" + _table(("field", "type", "default", "meaning"), rows)


def field_rows(schema: Schema, path: str = "") -> Iterator[FieldRow]:
    """Every field of an object, those of its parts after it."""
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        default = "required" if name in required else _default(inner)
        yield FieldRow(f"{path}{name}", _type(inner), default, inner.get("description", ""))
        if not _is_free(inner) and not path.endswith("conditions[]."):
            yield from field_rows(inner, f"{path}{name}.")
            yield from field_rows(inner.get("items", {}), f"{path}{name}[].")


def _is_free(schema: Schema) -> bool:
    return bool(schema.get("x-kubernetes-preserve-unknown-fields"))


def _default(schema: Schema) -> str:
    return f"`{json.dumps(schema['default'])}`" if schema.get("default") not in (None, {}, "") else ""


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return " / ".join(f"`{choice}`" for choice in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}, {_limits(schema, 'minItems', 'maxItems')}"
    if schema.get("format") == "date-time":
        return "time"
    name = {"object": "object", "string": "string", "integer": "integer", "number": "number", "boolean": "boolean"}
    limits = _limits(schema, "minimum", "maximum")
    return name.get(schema.get("type", ""), "any") + (f", {limits}" if limits else "")


def _limits(schema: Schema, low: str, high: str) -> str:
    if low in schema and high in schema:
        return f"{schema[low]} to {schema[high]}"
    return f"at least {schema[low]}" if low in schema else f"at most {schema[high]}" if high in schema else ""


def _rules(schema: Schema) -> str:
    """What `kubectl apply` refuses beside wrong types and limits, in the words that it says."""
    rows = [(f"`{path}`", message) for path, message in dict.fromkeys(rule_messages(schema))]
    return "### Refused at `kubectl apply`\n\n" + _table(("at", "message"), rows) if rows else ""


def rule_messages(schema: Schema, path: str = "") -> Iterator[tuple[str, str]]:
    """Every rule's place and message."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield (path + rule.get("fieldPath", "")).lstrip("."), rule["message"]
    for name, inner in schema.get("properties", {}).items():
        yield from rule_messages(inner, f"{path}.{name}")
    if "items" in schema:
        yield from rule_messages(schema["items"], f"{path}[]")


def _conditions(kind: str) -> str:
    rows = [(f"`{condition}`", CONDITION_MEANING[condition]) for condition in CONDITION_TYPES[kind]]
    return "### Conditions\n\n" + _table(("condition", "when it is true"), rows)


def _columns(definition: Definition) -> str:
    rows = [
        (column.name, column.description + (" With `-o wide` only." if column.priority else ""))
        for column in definition.columns
    ]
    return "### Columns of `kubectl get`\n\n" + _table(("column", "meaning"), rows)


def _reasons() -> str:
    rows = [(f"`{reason}`", REASON_MEANING[reason]) for reason in Reason]
    return "## Reasons of conditions\n\n" + _table(("reason", "meaning"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(resources_reference())
