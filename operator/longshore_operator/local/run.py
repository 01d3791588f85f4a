"""Puts a local run together: manifests, state folder, broker, ports, engine, display; and takes it apart again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

EMBEDDED = "embedded"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `longshore dev` was told."""

    paths: tuple[str, ...]
    recursive: bool
    folder: Path
    state: Path
    broker: str
    until_idle: bool
    timeout: float | None
