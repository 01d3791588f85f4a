"""A container's environment is what the kubelet would make of it."""

import pytest

from longshore_operator.local.environment import MissingReference, Store, container_environment

STORE = Store(
    [
        {"kind": "Secret", "metadata": {"name": "db"}, "data": {"url": "cGc6Ly9kYg=="}, "stringData": {"user": "me"}},
        {"kind": "ConfigMap", "metadata": {"name": "flags", "namespace": "default"}, "data": {"A": "1", "B": "2"}},
    ]
)


def environment(*env, given=(), **container):
    return container_environment({"env": list(env), **container}, "default", STORE, {"metadata.uid": "u1"}, given)


def secret(key: str, name: str = "db", **more):
    return {"name": "X", "valueFrom": {"secretKeyRef": {"name": name, "key": key, **more}}}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"name": "X", "value": "1"}, {"X": "1"}),
        ({"name": "X"}, {"X": ""}),
        (secret("url"), {"X": "pg://db"}),
        (secret("user"), {"X": "me"}),
        (secret("nope", optional=True), {}),
        (secret("url", name="nope", optional=True), {}),
        ({"name": "X", "valueFrom": {"configMapKeyRef": {"name": "flags", "key": "B"}}}, {"X": "2"}),
        ({"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}, {"X": "u1"}),
        ({"name": "X", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}, {}),
    ],
)
def test_one_entry(entry, expected):
    assert environment(entry) == expected


def test_refers_to_earlier_variables():
    found = environment({"name": "A", "value": "1"}, {"name": "B", "value": "$(A)/$$(A)/$(C)"})
    assert found["B"] == "1/$(A)/$(C)"


def test_takes_whole_objects_and_lets_single_entries_win():
    sources = [{"configMapRef": {"name": "flags"}, "prefix": "F_"}, {"secretRef": {"name": "nope", "optional": True}}]
    assert environment({"name": "F_A", "value": "9"}, envFrom=sources) == {"F_A": "9", "F_B": "2"}


def test_does_not_look_up_what_is_given():
    assert environment(secret("url", name="nope"), given=["X"]) == {}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (secret("url", name="nope"), "Secret nope is not among the manifests; give `longshore dev` its file too"),
        (secret("nope"), "Secret db has no key 'nope'; it has url, user"),
    ],
)
def test_says_what_is_missing(entry, message):
    with pytest.raises(MissingReference, match=message):
        environment(entry)
