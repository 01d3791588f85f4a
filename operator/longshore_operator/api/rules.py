"""A rule of the API, declared once: one message, a CEL expression for the API server, the same as a Python predicate.

The CRDs are made with the expressions, the models check the predicates, so that `kubectl apply` and `longshore dev`
refuse the same manifest with the same words. A rule sees values only, never a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

Reason = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"]


@dataclass(frozen=True)
class Rule:
    """What one object must satisfy, at any time. In `Annotated` it is a rule about that one value."""

    message: str
    holds: Callable[[Any], bool]
    cel: str | None = None
    """`None` where the API server checks the same thing by other means, such as the keys of a list map."""
    field: str = ""
    """The path on the wire, relative to the object, that the message is about."""
    reason: Reason = "FieldValueInvalid"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return with_validations(handler(schema), (self,))

    def _check(self, value: Any) -> Any:
        if not self.holds(value):
            raise as_error(self)
        return value


@dataclass(frozen=True)
class ChangeRule:
    """What an update may not do: `holds(old, new)`. `cel` speaks of `oldSelf` and `self`."""

    message: str
    holds: Callable[[Any, Any], bool]
    cel: str
    field: str = ""
    reason: Reason = "FieldValueForbidden"


def as_error(rule: Rule) -> PydanticCustomError:
    """The broken rule as pydantic reports it; the text is the message, never a template."""
    return PydanticCustomError("rule", "{message}", {"message": rule.message})


def check(model: str, value: Any, rules: Iterable[Rule]) -> None:
    """Raise one `ValidationError` that holds every broken rule, each at its field."""
    errors = [_detail(rule, value) for rule in rules if not rule.holds(value)]
    if errors:
        raise ValidationError.from_exception_data(model, errors)


def _detail(rule: Rule, value: Any) -> InitErrorDetails:
    return InitErrorDetails(type=as_error(rule), loc=_location(rule.field), input=value)


def _location(field: str) -> tuple[str, ...]:
    return tuple(field.split(".")) if field else ()


def with_validations(schema: JsonSchemaValue, rules: Iterable[Rule | ChangeRule]) -> JsonSchemaValue:
    """Return the schema with the rules that the API server has to check."""
    validations = [_validation(rule) for rule in rules if rule.cel]
    if not validations:
        return schema
    return {**schema, "x-kubernetes-validations": [*schema.get("x-kubernetes-validations", ()), *validations]}


def _known_to_a_crd(field: str) -> str:
    return "metadata" if field.startswith("metadata.") else field  # the schema may not say what is in it


def _validation(rule: Rule | ChangeRule) -> dict[str, Any]:
    validation: dict[str, Any] = {"rule": rule.cel, "message": rule.message}
    if rule.reason != "FieldValueInvalid":
        validation["reason"] = rule.reason
    if rule.field:
        validation["fieldPath"] = f".{_known_to_a_crd(rule.field)}"
    return validation
