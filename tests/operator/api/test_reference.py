"""The reference of the resources says what the models say."""

from __future__ import annotations

from longshore_operator.api import Reason
from longshore_operator.api.conditions import ConditionType
from longshore_operator.api.crd import DEFINITIONS, object_schema
from longshore_operator.api.meanings import CONDITION_MEANING, REASON_MEANING
from longshore_operator.api.reference import field_rows, resources_reference, rule_messages
from tests.support.apiserver import REPOSITORY


def test_the_page_is_current() -> None:
    page = (REPOSITORY / "docs" / "reference" / "resources.md").read_text()

    assert page == resources_reference(), (
        "run: python -m longshore_operator.api.reference > docs/reference/resources.md"
    )


def test_every_field_stands_in_the_page_with_its_meaning() -> None:
    page = resources_reference()
    for definition in DEFINITIONS:
        for row in field_rows(object_schema(definition.model)["properties"]["spec"], "spec."):
            assert f"| `{row.path}` |" in page
            assert row.description in page


def test_every_message_stands_in_the_page() -> None:
    page = resources_reference()

    assert all(message in page for one in DEFINITIONS for _, message in rule_messages(object_schema(one.model)))


def test_every_condition_and_reason_is_explained() -> None:
    assert set(CONDITION_MEANING) == set(ConditionType)
    assert set(REASON_MEANING) == set(Reason)
