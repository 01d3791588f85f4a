"""The images that the lab's pods run, as OCI archives in the cache.

Each is stamped with a key of everything that goes into it: asking for an image that is there costs nothing, and
after a change of code only the last layers are made again.
"""

from __future__ import annotations

import hashlib
import inspect
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.lab import debian, wheels
from tests.lab.containers import buildah, container, export, mounts, present
from tests.lab.node import PAUSE_IMAGE
from tests.lab.paths import CACHE, REPOSITORY
from tests.lab.tools import binary

PYTHON = "docker.io/library/python:3.11-slim"
"""The name that the Dockerfile asks for; see debian.py."""

REDIS = "docker.io/library/lab-redis:7"
PROJECT = "docker.io/library/longshore:test"

_PROJECT_FILES = (
    *("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE"),
    *("runtime", "operator", "docs/examples"),
)


def pause() -> Path:
    """The image of pods' sandboxes."""
    return _archive(PAUSE_IMAGE, key_of(binary("pause").read_bytes()), _make_pause)


def redis() -> Path:
    """A Redis server that listens for all pods and asks for no password."""
    return _archive(REDIS, _base_key(), _make_redis)


def project() -> Path:
    """The image of the repository's own Dockerfile."""
    files = (file for name in _PROJECT_FILES for file in files_below(REPOSITORY / name))
    contents = (f"{file.relative_to(REPOSITORY)}\n".encode() + file.read_bytes() for file in files)
    return _archive(PROJECT, key_of(_base_key(), *contents), _make_project)


def files_below(path: Path) -> list[Path]:
    """The files that a build sees under a path, in a stable order."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def key_of(*ingredients: str | bytes) -> str:
    """A key of everything that goes into something."""
    digest = hashlib.sha256()
    for ingredient in ingredients:
        content = ingredient.encode() if isinstance(ingredient, str) else ingredient
        digest.update(len(content).to_bytes(8) + content)
    return digest.hexdigest()


def _make_pause() -> None:
    with container("scratch") as name:
        buildah("copy", "--quiet", name, binary("pause"), "/pause")
        buildah("config", "--entrypoint", '["/pause"]', name)
        buildah("commit", "--quiet", name, PAUSE_IMAGE)


def _make_redis() -> None:
    _ensure_base()
    command = '["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]'
    with container(PYTHON) as name:
        buildah("config", "--cmd", command, "--workingdir", "/tmp", name)
        buildah("commit", "--quiet", name, REDIS)


def _make_project() -> None:
    _ensure_base()
    _once("wheels", key_of(_base_key(), *wheels.requirements()), lambda: wheels.fetch(PYTHON))
    buildah(
        *("build", "--pull-never", "--layers", "--quiet", *mounts([wheels.FOLDER])),
        *("--build-arg", "PIP_NO_INDEX=1", "--build-arg", f"PIP_FIND_LINKS={wheels.FOLDER}"),
        *("--tag", PROJECT, REPOSITORY),
    )
    buildah("rmi", "--prune")  # layers of the code as it was


def _ensure_base() -> None:
    _once("base", _base_key(), _make_base, lambda: present(PYTHON))


def _base_key() -> str:
    return key_of(inspect.getsource(debian), platform.machine())


def _make_base() -> None:
    root = CACHE / "base-root"
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(exist_ok=True)
    debian.make_root(root)
    with container("scratch") as name:
        buildah("copy", "--quiet", name, root, "/")
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        buildah("config", "--env", f"PATH={path}", "--cmd", '["python3"]', name)
        buildah("commit", "--quiet", name, PYTHON)
    shutil.rmtree(root)


def _archive(image: str, key: str, make: Callable[[], None]) -> Path:
    name = image.rpartition("/")[2].replace(":", "-")
    path = CACHE / f"{name}.tar"

    def make_and_export() -> None:
        make()
        export(image, path)

    _once(name, key, make_and_export, path.exists)
    return path


def _once(name: str, key: str, make: Callable[[], None], there: Callable[[], bool] = lambda: True) -> None:
    """Make something unless it is there and was made of the same ingredients."""
    stamp = CACHE / f"{name}.made-of"
    if stamp.exists() and stamp.read_text() == key and there():
        return
    CACHE.mkdir(exist_ok=True)
    stamp.unlink(missing_ok=True)
    make()
    stamp.write_text(key)
