"""The manifests under tests/e2e, with what their first comments say is to be expected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

E2E = Path(__file__).resolve().parents[1] / "e2e"

_EXPECT = "# expect: "
_EXPECT_LOCAL = "# expect-local: "


@dataclass(frozen=True)
class BadManifest:
    """One or more documents; the last of them is refused, whatever came before it is fine."""

    path: Path
    expect: str
    """What `kubectl apply` says, among other things."""
    expect_local: str
    """What our own parser says; the API server has words of its own for what its schema refuses."""

    @property
    def documents(self) -> list[dict[str, Any]]:
        return load(self.path)


def load(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text()))


def bad_manifests() -> list[BadManifest]:
    """Every manifest that must be refused."""
    return [_bad_manifest(path) for path in sorted((E2E / "bad_manifests").glob("*.yaml"))]


def good_manifests() -> list[Path]:
    """Every manifest that must be accepted."""
    return sorted((E2E / "good_manifests").glob("*.yaml"))


def _bad_manifest(path: Path) -> BadManifest:
    lines = path.read_text().splitlines()
    expect = next(line.removeprefix(_EXPECT) for line in lines if line.startswith(_EXPECT))
    local = next((line.removeprefix(_EXPECT_LOCAL) for line in lines if line.startswith(_EXPECT_LOCAL)), expect)
    return BadManifest(path, expect, local)
