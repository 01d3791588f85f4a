"""The Debian packages that the lab needs, installed only where something is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.lab.shell import LabError, run

_PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "debootstrap": "debootstrap",
    "buildah": "buildah",
}
"""Program and the package that brings it: somebody's own containerd.io is as good as Debian's containerd."""

_FILES = {"/usr/lib/cni/bridge": "containernetworking-plugins"}


def missing() -> list[str]:
    """The packages that are needed and whose programs are not there."""
    by_program = [package for program, package in _PROGRAMS.items() if not _find(program)]
    return by_program + [package for path, package in _FILES.items() if not Path(path).exists()]


def require() -> None:
    """Say what is missing and how to get it."""
    if missing():
        raise LabError(f"{', '.join(missing())} is missing: `python -m tests.lab deps` as root installs it")


def install(also: Iterable[str] = ()) -> list[str]:
    """Install what is missing, and packages that the caller needs besides; return what was installed."""
    wanted = missing() + [package for package in also if not _installed(package)]
    if wanted:
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *wanted)
    return wanted


def _apt_get(*words: str) -> None:
    if not shutil.which("apt-get"):
        raise LabError("this is no Debian: install containerd, runc, CNI plugins, buildah and debootstrap by hand")
    if os.geteuid() != 0:
        raise LabError(f"only root can install {', '.join(missing())}")
    run("apt-get", "--quiet", *words, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def _installed(package: str) -> bool:
    query = run("dpkg-query", "--show", "--showformat=${db:Status-Status}", package, check=False)
    return query.stdout == "installed"


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
