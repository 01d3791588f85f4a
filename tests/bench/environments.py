"""One virtual environment a system, built once from a pinned requirements file; an ignored folder keeps them.

A change of the requirements file builds that environment anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".bench-cache"
REQUIREMENTS = Path(__file__).parent / "requirements"
OURS = "longshore"


class BuildError(Exception):
    """An environment cannot be built; the text says why."""


def folder(name: str) -> Path:
    """Return where an environment is, or will be."""
    return CACHE / name


def program(name: str, command: str) -> str:
    """Return the path of a command of an environment."""
    return str(folder(name) / "bin" / command)


def ensure(name: str) -> None:
    """Build an environment where it is missing or of another requirements file."""
    wanted = _fingerprint(name)
    mark = folder(name) / "built-from"
    if mark.exists() and mark.read_text() == wanted:
        return
    print(f"building the environment of {name}", flush=True)
    shutil.rmtree(folder(name), ignore_errors=True)
    CACHE.mkdir(exist_ok=True)
    _run(sys.executable, "-m", "venv", *([] if _uv() is None else ["--without-pip"]), str(folder(name)))
    _install(name)
    mark.write_text(wanted)


def versions(name: str) -> dict[str, str]:
    """Return every package of an environment and its version."""
    code = (
        "import importlib.metadata as m, json, platform;"
        "found = {d.name.lower(): d.version for d in m.distributions()};"
        "print(json.dumps({'python': platform.python_version(), **found}))"
    )
    out = subprocess.run([program(name, "python"), "-c", code], capture_output=True, text=True, check=True).stdout
    return dict(sorted(json.loads(out).items()))


def _fingerprint(name: str) -> str:
    files = [ROOT / "requirements.lock", ROOT / "pyproject.toml"] if name == OURS else [REQUIREMENTS / f"{name}.txt"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _install(name: str) -> None:
    what = (
        ["--constraint", str(ROOT / "requirements.lock"), "--editable", str(ROOT)]
        if name == OURS
        else ["--requirement", str(REQUIREMENTS / f"{name}.txt")]
    )
    python, uv = program(name, "python"), _uv()
    if uv is not None:
        _run(uv, "pip", "install", "--quiet", "--python", python, *what)
    else:
        _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)


def _uv() -> str | None:
    return shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
