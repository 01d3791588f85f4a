"""A container's environment as the kubelet would build it: values, Secrets, ConfigMaps and fields of the pod.

Pure: from dicts to a dict. A reference that leads nowhere raises `MissingReference`, with what to add.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any

Manifest = Mapping[str, Any]

_VARIABLE = re.compile(r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")


class MissingReference(Exception):
    """A Secret, a ConfigMap or a key of one that the manifests do not hold."""


class Store:
    """The Secrets and ConfigMaps of the manifests, as texts."""

    def __init__(self, objects: Iterable[Manifest] = ()) -> None:
        self._data = {_identity(item): _texts(item) for item in objects}

    def value(self, kind: str, namespace: str, name: str, key: str) -> str:
        """Return one value; raise `MissingReference`."""
        data = self.data(kind, namespace, name)
        if key not in data:
            raise MissingReference(f"{kind} {name} has no key {key!r}; it has {', '.join(sorted(data)) or 'none'}")
        return data[key]

    def data(self, kind: str, namespace: str, name: str) -> Mapping[str, str]:
        """Return all values of one object; raise `MissingReference`."""
        found = self._data.get((kind, namespace, name))
        if found is None:
            raise MissingReference(f"{kind} {name} is not among the manifests; give `longshore dev` its file too")
        return found


def container_environment(
    container: Manifest, namespace: str, store: Store, fields: Mapping[str, str], given: Iterable[str] = ()
) -> dict[str, str]:
    """Return what `env` and `envFrom` of a container say. Names in `given` are set elsewhere and not looked up."""
    result: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        result.update(_from_source(source, namespace, store))
    skipped = frozenset(given)
    for entry in container.get("env") or ():
        if entry["name"] in skipped:
            continue
        value = _entry(entry, namespace, store, fields, result)
        if value is not None:
            result[entry["name"]] = value
    return result


def _from_source(source: Manifest, namespace: str, store: Store) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for field, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
        reference = source.get(field)
        if reference is None:
            continue
        try:
            data = store.data(kind, namespace, reference["name"])
        except MissingReference:
            if reference.get("optional"):
                return {}
            raise
        return {prefix + key: value for key, value in data.items()}
    return {}


def _entry(
    entry: Manifest, namespace: str, store: Store, fields: Mapping[str, str], known: Mapping[str, str]
) -> str | None:
    origin = entry.get("valueFrom")
    if origin is None:
        return _expand(str(entry.get("value") or ""), known)
    if "fieldRef" in origin:
        return fields.get(origin["fieldRef"]["fieldPath"], "")
    for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        reference = origin.get(field)
        if reference is None:
            continue
        try:
            return store.value(kind, namespace, reference["name"], reference["key"])
        except MissingReference:
            if reference.get("optional"):
                return None
            raise
    return None  # resourceFieldRef: a process on this machine has no limits of its own


def _expand(text: str, known: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by an earlier variable, as the kubelet does; ``$$`` is a dollar."""

    def one(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else known.get(match[1], match[0])

    return _VARIABLE.sub(one, text)


def _identity(item: Manifest) -> tuple[str, str, str]:
    meta = item.get("metadata") or {}
    return str(item.get("kind")), str(meta.get("namespace") or "default"), str(meta.get("name"))


def _texts(item: Manifest) -> dict[str, str]:
    plain = dict(item.get("data") or {})
    if item.get("kind") == "Secret":
        plain = {key: _decode(value) for key, value in plain.items()}
    plain.update(item.get("stringData") or {})
    return {str(key): str(value) for key, value in plain.items()}


def _decode(value: Any) -> str:
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
