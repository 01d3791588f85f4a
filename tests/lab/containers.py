"""buildah, with a store of its own: images that only the lab knows never shadow those of the machine's user."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lab.paths import CACHE
from tests.lab.shell import CommandFailed, run

_STORE = CACHE / "containers"


def buildah(*words: str | Path) -> str:
    """Run buildah; return what it prints.

    In a mount namespace of its own, because the overlay driver leaves mounts behind; without isolation by a
    container engine, because there is none, and because builds then have the network of this machine.
    """
    store = ("--root", _STORE / "images", "--runroot", _STORE / "run", "--storage-driver", "overlay")
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    return run("unshare", "--mount", "buildah", *store, *words, env=environment).stdout.strip()


@contextmanager
def container(base: str) -> Iterator[str]:
    """A working container, removed at the end."""
    name = buildah("from", "--quiet", "--pull-never", base)
    try:
        yield name
    finally:
        buildah("rm", name)


def present(image: str) -> bool:
    """Whether an image is in the store."""
    try:
        buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", image)
    except CommandFailed:
        return False
    return True


def mounts(paths: Sequence[Path]) -> list[str]:
    """Options that show paths of this machine, read-only, at the same place in a container."""
    return [word for path in paths for word in ("--volume", f"{path}:{path}:ro")]


def export(image: str, archive: Path) -> None:
    """Write an image to an OCI archive that containerd can import under the same name."""
    unfinished = archive.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    buildah("push", "--quiet", image, f"oci-archive:{unfinished}:{image}")
    unfinished.rename(archive)
