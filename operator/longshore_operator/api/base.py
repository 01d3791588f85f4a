"""What the three resources share: how they look on the wire, their metadata, and the base of spec and status.

On the wire names are camelCase, in Python snake_case. A spec refuses what it does not know; metadata and status, which
others write too, ignore it. Nothing here knows of one kind in particular.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from longshore_operator.api.rules import ChangeRule, Rule, check, with_validations

GROUP: Final = "longshore.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "longshore.dev/v1alpha1"

_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def _wire_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[datetime, PlainSerializer(_wire_time, return_type=str, when_used="json")]
"""A moment, as Kubernetes writes it: UTC, whole seconds."""

ResourceName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    Rule(
        "must be a name of small letters, digits, '-' and '.', such as orders",
        holds=lambda name: _DNS_NAME.fullmatch(name) is not None,
        cel="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
    ),
]
"""The name of an object in Kubernetes, wherever a spec refers to one."""


@dataclass(frozen=True)
class Clipped:
    """In `Annotated`: a text that is cut rather than refused. It comes from elsewhere, and a status must be writable
    whatever it says.
    """

    length: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._cut, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "maxLength": self.length}

    def _cut(self, text: str) -> str:
        return text if len(text) <= self.length else f"{text[: self.length - 3]}..."


def map_list(key: str) -> dict[str, Any]:
    """Schema of a list that is a map: two items with the same `key` are refused, and appliers share the list."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def unseen_default(schema: dict[str, Any]) -> None:
    """Keep a default out of the CRD: the server would write it into the object, and a later `kubectl apply` that
    chooses another alternative of the union would be merged with it.
    """
    schema.pop("default", None)


class Model(BaseModel):
    """A value of the API. Immutable; `model_copy(update=…)` makes a changed one."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    rules: ClassVar[tuple[Rule, ...]] = ()
    change_rules: ClassVar[tuple[ChangeRule, ...]] = ()

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        check(type(self).__name__, self, self.rules)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return with_validations(handler.resolve_ref_schema(handler(schema)), (*cls.rules, *cls.change_rules))

    def to_wire(self) -> dict[str, Any]:
        """As JSON would have it: camelCase, unknown (`None`) left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class SpecModel(Model):
    """A part of a spec: what it does not know is refused, and "3" is not 3."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StatusModel(Model):
    """A part of a status. What is unknown is absent, never 0."""


class OwnerReference(Model):
    """The object that this one belongs to and goes with."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Model):
    """Kubernetes' own metadata, as far as Longshore reads it."""

    name: ResourceName
    namespace: str = "default"
    uid: str = ""
    generation: int = 1
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    finalizers: list[str] = Field(default_factory=list)
    owner_references: list[OwnerReference] = Field(default_factory=list)


class Condition(StatusModel):
    """One aspect of an object's state, for people, `kubectl wait`, Argo CD and Flux."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)] = Field(description="Name of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the condition holds.")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(
        description="Why, as one CamelCase word for programs."
    )
    message: Annotated[str, Clipped(32768)] = Field(
        default="", description="Why, and what to do, as a sentence for people."
    )
    last_transition_time: Timestamp = Field(description="When `status` last changed.")
    observed_generation: int | None = Field(
        default=None, ge=0, description="The `metadata.generation` that this is said of."
    )


class Status(StatusModel):
    """What every kind's status has."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The `metadata.generation` that this status was computed from."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="The state in words; see the reference of conditions.",
        json_schema_extra=map_list("type"),
    )


class Resource(Model):
    """An object of one of the three kinds."""

    plural: ClassVar[str]

    api_version: Literal["longshore.dev/v1alpha1"] = API_VERSION
    metadata: ObjectMeta

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """`metadata.namespace`."""
        return self.metadata.namespace

    @property
    def uid(self) -> str:
        """`metadata.uid`; empty until something has stored the object."""
        return self.metadata.uid
