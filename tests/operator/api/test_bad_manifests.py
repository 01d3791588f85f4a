"""What is wrong is refused, by the API server and by our own parser, in words that a person understands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from longshore_operator.api import KINDS, AnyResource, InvalidManifest, check_change, parse
from longshore_operator.api.base import Model
from longshore_operator.api.rules import ChangeRule, Rule
from tests.support.apiserver import ApiServer
from tests.support.manifests import BadManifest, bad_manifests

BAD = bad_manifests()
every_bad_manifest = pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.path.stem)

JARGON = re.compile(r"self\.|failed rule|should match|pydantic|errors\.|no such key|Traceback|ValidationError")


def refusal(bad: BadManifest) -> str:
    *before, _ = bad.documents
    accepted = [parse(document) for document in before]
    with pytest.raises(InvalidManifest) as caught:
        replace_all(accepted, bad.documents[-1])
    return str(caught.value)


def replace_all(accepted: list[AnyResource], document: dict[str, Any]) -> None:
    resource = parse(document)
    for old in accepted:
        check_change(old, resource)


@every_bad_manifest
def test_our_parser_refuses_it(bad: BadManifest) -> None:
    message = refusal(bad)

    assert bad.expect_local in message
    assert not JARGON.search(message)
    assert message.startswith(f"{bad.documents[-1]['kind']} {bad.documents[-1]['metadata']['name']} is invalid:")


@every_bad_manifest
def test_the_api_server_refuses_it(bad: BadManifest, api_server: ApiServer, namespace: str) -> None:
    done = api_server.kubectl("apply", "-n", namespace, "-f", str(bad.path), check=False)

    assert done.returncode == 1
    assert bad.expect in done.stderr
    assert not JARGON.search(done.stderr)
    assert len(done.stdout.splitlines()) == len(bad.documents) - 1, "what came before the refused one is accepted"


@pytest.mark.parametrize("source", ["parser", "api_server"])
def test_no_refusal_repeats_a_password(source: str, request: pytest.FixtureRequest) -> None:
    for bad in BAD:
        if "hunter2" not in bad.path.read_text():
            continue
        if source == "parser":
            said = refusal(bad)
        else:
            server: ApiServer = request.getfixturevalue("api_server")
            said = server.kubectl("create", "-f", str(bad.path), "--dry-run=server", check=False).stderr
        assert "must not hold a password" in said
        assert "hunter2" not in said


def test_every_rule_has_a_bad_manifest() -> None:
    expected = "\n".join(bad.expect + bad.expect_local for bad in BAD)

    missing = [rule.message for rule in rules_of_all_kinds() if rule.message not in expected]

    assert missing == []


def rules_of_all_kinds() -> Iterator[Rule | ChangeRule]:
    models: set[type[BaseModel]] = set(KINDS.values())
    while models:
        model = models.pop()
        if issubclass(model, Model):
            yield from (*model.rules, *model.change_rules)
        for field in model.model_fields.values():
            yield from (each for each in field.metadata if isinstance(each, Rule))
            annotations = [field.annotation]
            while annotations:
                annotation = annotations.pop()
                if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                    models.add(annotation)
                yield from (each for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Rule))
                annotations += getattr(annotation, "__args__", ())
