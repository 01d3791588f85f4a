"""One environment for each version of Celery, built once from its pinned requirements; an ignored folder keeps them.

A change of a requirements file builds that environment anew. Several test runs may build at once: a lock file orders
them, and what is half built is never used.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".bench-cache" / "conformance"
REQUIREMENTS = Path(__file__).parent / "requirements"
VERSIONS = tuple(sorted((file.stem for file in REQUIREMENTS.glob("celery-*.txt")), reverse=True))
BUILD_SECONDS = 240


class NotBuilt(Exception):
    """The environment cannot be built; the text says why."""


def environment(name: str) -> Path:
    """Return the folder of an environment, building it where it is missing or of other requirements."""
    folder, requirements = CACHE / name, REQUIREMENTS / f"{name}.txt"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = folder / "built-from"
        if not mark.exists() or mark.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            _build(folder, requirements)
            mark.write_text(wanted)
    return folder


def _build(folder: Path, requirements: Path) -> None:
    python = folder / "bin" / "python"
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    _run(sys.executable, "-m", "venv", *(["--without-pip"] if uv else []), str(folder))
    if uv:
        _run(uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", str(requirements))
    else:
        _run(
            str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--requirement", str(requirements)
        )


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotBuilt(f"{command[0]}: {error}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise NotBuilt(f"{Path(command[0]).name} failed: {lines[-1][:200]}")
