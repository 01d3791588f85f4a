"""The wheels that the project's image is made of, fetched once and kept.

The image's own pip fetches them, because the choice depends on the exact Python, but with the configuration of this
machine's pip: its index, its certificates, its folders of wheels. Builds then need no network, and nothing of that
configuration gets into an image or into the repository.
"""

from __future__ import annotations

import ast
import os
import shutil
import sys
import tomllib
from pathlib import Path

from tests.lab.containers import buildah, container, mounts
from tests.lab.paths import CACHE, REPOSITORY
from tests.lab.shell import run

FOLDER = CACHE / "wheels"


def requirements() -> list[str]:
    """What the image needs: to build the project's wheel, and to run it with the operator."""
    content = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    project = content["project"]
    to_run = (*project["dependencies"], *project["optional-dependencies"]["operator"])
    return sorted({*content["build-system"]["requires"], *to_run})


def fetch(base: str) -> None:
    """Fill the folder with wheels for the Python of an image."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    settings = pip_settings(_pip_config())
    with container(base) as name:
        buildah("run", name, "--", "python3", "-m", "venv", "/tmp/pip")
        buildah(
            *("run", "--volume", f"{FOLDER}:/wheels", *mounts(paths_in(settings))),
            *(word for key, value in settings.items() for word in ("--env", f"{key}={value}")),
            *(name, "--", "/tmp/pip/bin/pip", "wheel", "--quiet", "--wheel-dir", "/wheels", *requirements()),
        )


def pip_settings(listing: str) -> dict[str, str]:
    """The output of `pip config list` as environment variables for another pip."""
    settings: dict[str, str] = {}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        scope, _, name = key.rpartition(".")
        if scope in ("global", "wheel", ":env:"):
            settings[f"PIP_{name.upper().replace('-', '_')}"] = " ".join(str(ast.literal_eval(value)).split())
    return settings | {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}


def paths_in(settings: dict[str, str]) -> list[Path]:
    """Files and folders of this machine that the settings name."""
    words = {word for value in settings.values() for word in value.split() if word.startswith("/")}
    return sorted(path for path in map(Path, words) if path.exists())


def _pip_config() -> str:
    return run(sys.executable, "-m", "pip", "config", "list", check=False).stdout
