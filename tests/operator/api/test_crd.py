"""The CRDs as documents: current in `crds/`, bounded, structural, with nothing in a column that no status holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from click.testing import CliRunner
from pydantic import Field

from longshore_operator.api.base import SpecModel
from longshore_operator.api.crd import (
    DEFINITIONS,
    Definition,
    custom_resource_definition,
    custom_resource_definitions,
    to_yaml,
)
from longshore_operator.api.schema import structural_schema
from longshore_operator.cli.crds import crds
from tests.support.apiserver import CRDS

every_kind = pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.kind)


def schema_of(definition: Definition) -> dict[str, Any]:
    version = custom_resource_definition(definition)["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from walk(schema[key], f"{path}[]")


def test_the_files_are_what_the_models_say() -> None:
    there = {path.name: path.read_text() for path in CRDS.glob("*.yaml")}

    assert there == {name: to_yaml(crd) for name, crd in custom_resource_definitions().items()}, (
        "run: longshore-operator crds --directory crds"
    )


@every_kind
def test_everything_that_can_grow_has_a_maximum(definition: Definition) -> None:
    for path, schema in walk(schema_of(definition)):
        if path == ".metadata" or path in (".apiVersion", ".kind"):
            continue
        match schema.get("type"):
            case "string":
                assert "maxLength" in schema or "enum" in schema or schema.get("format") == "date-time", path
            case "array":
                assert "maxItems" in schema, path
            case "object":
                free = schema.get("x-kubernetes-preserve-unknown-fields")
                assert "properties" in schema or "maxProperties" in schema or free, path


@every_kind
def test_every_field_is_explained(definition: Definition) -> None:
    for path, schema in walk(schema_of(definition)):
        if path and path != ".metadata" and not path.endswith("[]"):
            assert schema.get("description", "").endswith("."), path


@every_kind
def test_the_schema_is_structural(definition: Definition) -> None:
    forbidden = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "title", "exclusiveMinimum", "exclusiveMaximum"}
    for path, schema in walk(schema_of(definition)):
        assert not forbidden & schema.keys(), path
        assert "type" in schema or schema.get("x-kubernetes-preserve-unknown-fields"), path
        assert schema.get("additionalProperties") not in (True, False), path
        assert schema.get("default", ...) is not None, path


@every_kind
def test_every_column_and_scale_path_is_in_the_schema(definition: Definition) -> None:
    known = {path for path, _ in walk(schema_of(definition))} | {".metadata.creationTimestamp"}
    scale = definition.subresources.get("scale", {})

    for path in [*(column.path for column in definition.columns), *scale.values()]:
        field = path.replace('[?(@.type=="Ready")]', "[]")
        assert field in known, path


@every_kind
def test_the_default_view_fits_a_terminal_and_ends_with_the_age(definition: Definition) -> None:
    shown = [column.name for column in definition.columns if column.priority == 0]

    assert shown[-1] == "Age"
    assert {"Ready", "Reason"} <= set(shown)
    assert len(shown) <= 10


def test_the_wire_form_is_inlined_without_nulls() -> None:
    class Part(SpecModel):
        """A part."""

        size: int | None = Field(default=None, ge=1)

    class Whole(SpecModel):
        """A whole."""

        mode: Literal["One"] = "One"
        some_part: Part | None = None
        parts: list[Part] = Field(default_factory=list)

    part = {
        "description": "A part.",
        "type": "object",
        "properties": {"size": {"type": "integer", "format": "int64", "minimum": 1}},
    }
    assert structural_schema(Whole) == {
        "description": "A whole.",
        "type": "object",
        "properties": {
            "mode": {"type": "string", "default": "One", "enum": ["One"]},
            "somePart": part,
            "parts": {"type": "array", "items": part, "x-kubernetes-list-type": "atomic"},
        },
    }


def test_a_field_of_two_types_is_refused_where_it_is_written() -> None:
    class Both(SpecModel):
        size: int | str

    with pytest.raises(TypeError, match="one type"):
        structural_schema(Both)


def test_the_command_prints_all_three() -> None:
    printed = CliRunner().invoke(crds, [], catch_exceptions=False).output

    names = [document["metadata"]["name"] for document in yaml.safe_load_all(printed)]
    assert names == ["taskqueues.longshore.dev", "workerpools.longshore.dev", "cronschedules.longshore.dev"]


def test_the_command_writes_one_file_a_kind(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "crds"

    result = CliRunner().invoke(crds, ["--directory", str(folder)], catch_exceptions=False)

    assert result.exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in CRDS.glob("*.yaml"))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    result = CliRunner().invoke(crds, ["--directory", str(tmp_path / "file" / "crds")])

    assert result.exit_code == 1
    assert result.output == f"Error: cannot write the CRDs into {tmp_path}/file/crds: Not a directory\n"
