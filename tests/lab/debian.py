"""The base image: a small Debian with Python, made by debootstrap from the mirror that this machine is configured
for.

It takes the name of the Python image that the Dockerfile asks for, because no registry of images can be reached
from where the lab has to run. It also holds a Redis server, so that the same layer serves as the tests' broker.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.lab.shell import LabError, run

SUITE = "bookworm"
"""The release whose Python is the Dockerfile's, 3.11."""

PACKAGES = ("python3", "python3-venv", "ca-certificates", "redis-server")

_DEAD_WEIGHT = (
    *("var/cache/apt", "var/lib/apt/lists"),
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"),
)


def make_root(folder: Path) -> None:
    """Make the root file system of the base image in a folder."""
    run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, folder, configured_mirror())
    for path in _DEAD_WEIGHT:
        shutil.rmtree(folder / path)
        (folder / path).mkdir()
    (folder / "usr/bin/python").symlink_to("python3")


def configured_mirror() -> str:
    """The Debian mirror that apt uses on this machine."""
    release = _own_release()
    sources = Path("/etc/apt")
    files = [sources / "sources.list", *sorted((sources / "sources.list.d").glob("*"))]
    for uri, suites in entries(file.read_text() for file in files if file.is_file()):
        if release in suites:
            return uri
    raise LabError(f"apt has no source for Debian {release}: the base image is made from the machine's own mirror")


def entries(texts: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Address and suites of every source of binary packages, in either of apt's two formats."""
    found: list[tuple[str, list[str]]] = []
    for text in texts:
        active = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        found += _one_line_entries(active) + _stanza_entries(active)
    return found


def _one_line_entries(text: str) -> list[tuple[str, list[str]]]:
    lines = re.findall(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", text, re.MULTILINE)
    return [(uri, [suite]) for uri, suite in lines]


def _stanza_entries(text: str) -> list[tuple[str, list[str]]]:
    stanzas = [dict(re.findall(r"^(\S+):[ \t]*(.*)$", stanza, re.MULTILINE)) for stanza in re.split(r"\n\s*\n", text)]
    return [(one["URIs"].split()[0], one["Suites"].split()) for one in stanzas if "deb" in one.get("Types", "").split()]


def _own_release() -> str:
    found = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    return found[1] if found else SUITE
