"""Build the cluster's programs from their Go modules, once.

Each family of tools has its own Go module under `tools/`, because the families pin different versions of the same
libraries. What is built is stamped with a key of everything that goes into it, so that a second run costs nothing
and a changed `go.sum` builds again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.paths import BINARIES, TOOL_MODULES
from tests.lab.shell import LabError, run


@dataclass(frozen=True)
class Tool:
    """One program: the family (Go module) that pins it, and its package."""

    name: str
    family: str
    package: str

    @property
    def module(self) -> Path:
        """The folder with the go.mod that pins this tool."""
        return TOOL_MODULES / self.family


KUBERNETES = ("kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")

TOOLS = (
    Tool("pause", "pause", "."),
    Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    *(Tool(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}") for name in KUBERNETES),
    Tool("coredns", "coredns", "."),
    Tool("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
)


def build_all(report: Callable[[str], None] = print) -> None:
    """Build every tool that is missing or outdated. Two processes that ask at once build once."""
    with _only_builder():
        for tool in missing():
            began = time.monotonic()
            _build(tool)
            report(f"built {tool.name} in {time.monotonic() - began:.0f} s")


def missing() -> list[Tool]:
    """The tools whose binary is not there, or was built from something else."""
    return [tool for tool in TOOLS if _stamp(tool) != _key(tool)]


def binary(name: str) -> Path:
    """The path of a built tool."""
    return BINARIES / name


def _build(tool: Tool) -> None:
    if not shutil.which("go"):
        raise LabError(f"{tool.name} has to be built and there is no Go on this machine: install Go 1.25 or newer")
    unfinished = BINARIES / f".{tool.name}.unfinished"
    environment = {**os.environ, "CGO_ENABLED": "0"}
    run(
        "go",
        "build",
        "-trimpath",
        "-ldflags",
        linker_flags(tool),
        "-o",
        unfinished,
        tool.package,
        cwd=tool.module,
        env=environment,
    )
    unfinished.rename(binary(tool.name))
    stamp = _stamp_file(tool)
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(_key(tool))


def linker_flags(tool: Tool) -> str:
    """Strip symbols; tell Kubernetes its version, without which the API server refuses the kubelet."""
    if tool.family != "kubernetes":
        return "-s -w"
    version = required_version(tool.module, "k8s.io/kubernetes")
    major, minor = version.removeprefix("v").split(".")[:2]
    base, client = "k8s.io/component-base/version", "k8s.io/client-go/pkg/version"
    values = {
        f"{base}.gitVersion": version,
        f"{base}.gitMajor": major,
        f"{base}.gitMinor": minor,
        f"{client}.gitVersion": version,
    }
    return "-s -w " + " ".join(f"-X {name}={value}" for name, value in values.items())


def required_version(module: Path, requirement: str) -> str:
    """The version of a requirement in a go.mod: named there, and nowhere else."""
    found = re.search(
        rf"^\s*(?:require )?{re.escape(requirement)} (v\S+)", (module / "go.mod").read_text(), re.MULTILINE
    )
    if not found:
        raise LabError(f"{module / 'go.mod'} does not require {requirement}")
    return found[1]


def _key(tool: Tool) -> str:
    digest = hashlib.sha256(f"{tool.package} {linker_flags(tool)}".encode())
    for file in sorted(tool.module.iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _stamp(tool: Tool) -> str:
    if not binary(tool.name).exists() or not _stamp_file(tool).exists():
        return ""
    return _stamp_file(tool).read_text()


def _stamp_file(tool: Tool) -> Path:
    return BINARIES / ".built-from" / tool.name


@contextmanager
def _only_builder() -> Iterator[None]:
    BINARIES.mkdir(exist_ok=True)
    with (BINARIES / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
