"""From a model to a structural OpenAPI v3 schema, as a CRD wants it: no references, no nulls, every default in place.

Knows JSON schemas, nothing of the three kinds.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

Schema = dict[str, Any]

_ANNOTATIONS_DROPPED = frozenset({"title", "$defs", "examples", "discriminator"})


class _WithModelDefaults(GenerateJsonSchema):
    """A default that is a model stands in the schema as it would on the wire, only with what it sets itself."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
        return super().encode_default(dft)


def structural_schema(model: type[BaseModel]) -> Schema:
    """Return the model's schema such that the API server calls it structural."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_WithModelDefaults)
    return _structural(schema, schema.get("$defs", {}))


def _structural(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    schema = _without_null(_resolved(schema, definitions), definitions)
    return _finished({key: _inner(key, value, definitions) for key, value in schema.items() if _is_kept(key, value)})


def _is_kept(key: str, value: Any) -> bool:
    if key == "additionalProperties":
        return not isinstance(value, bool)  # an object that declares its properties is closed by pruning
    return key not in _ANNOTATIONS_DROPPED and not (key == "default" and value is None)


def _inner(key: str, value: Any, definitions: dict[str, Schema]) -> Any:
    if key == "properties":
        return {name: _structural(inner, definitions) for name, inner in value.items()}
    if key in ("items", "additionalProperties"):
        return _structural(value, definitions)
    return _one_paragraph(value) if key == "description" else value


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Put what a reference points to in its place; what stands beside the reference wins."""
    while "$ref" in schema:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **beside}
    return schema


def _without_null(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """An optional field is one that may be absent: of ``X | null`` the X stays."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if not options:
        return schema
    if len(options) > 1:
        raise TypeError(f"a structural schema has one type for a field, not {options}")
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    return _resolved({**_resolved(options[0], definitions), **beside}, definitions)


def _finished(schema: Schema) -> Schema:
    if "const" in schema:
        schema = {**schema, "enum": [schema["const"]]}
        del schema["const"]
    if schema.get("type") == "integer":
        schema = {"type": "integer", "format": "int64", **schema}
    if schema.get("type") == "array":
        schema = {"x-kubernetes-list-type": "atomic", **schema}
    return schema


def _one_paragraph(text: str) -> str:
    return " ".join(text.split())
