"""Import what a setting or an argument names."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from typing import Any


def import_object(path: str) -> Any:
    """Import ``package.module:attribute``, or ``package.module.attribute``, or a module."""
    module, _, attribute = path.partition(":")
    if attribute:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        parent, _, last = path.rpartition(".")
        if not parent:
            raise
        return getattr(importlib.import_module(parent), last)


def import_related(packages: Iterable[str], name: str | None) -> None:
    """Import ``PACKAGE.name`` of each package that has such a module; where `name` is None, the packages themselves."""
    for package in packages:
        module = f"{package}.{name}" if name else package
        if importlib.util.find_spec(package) and importlib.util.find_spec(module):
            importlib.import_module(module)
