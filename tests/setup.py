"""What the tests need besides Python packages: real servers from Debian, and the lab's tools built by Go.

`python -m tests.setup` installs what is missing where that is possible, and says what is left out and why. Nothing here
is an error: a test whose server is not there is skipped with the reason.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import packages, tools
from tests.lab.shell import LabError

SERVERS = ("redis-server", "rabbitmq-server", "postgresql")
_POLICY = Path("/usr/sbin/policy-rc.d")


def main() -> None:
    """Install, build, and tell."""
    _attempt("Debian packages", _install)
    _attempt("the lab's tools", _build)


def _attempt(what: str, step: object) -> None:
    try:
        print(f"setup: {what}: {step()}", flush=True)  # type: ignore[operator]  # one of the two functions below
    except (LabError, OSError) as error:
        print(f"setup: {what}: left out, {error}", flush=True)


def _install() -> str:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return "left out, only root on Debian can install them"
    with _no_services():
        installed = packages.install(also=SERVERS)
    return f"installed {', '.join(installed)}" if installed else "all there"


def _build() -> str:
    if not tools.missing():
        return "all built"
    if not shutil.which("go"):
        return "left out, there is no Go to build them with"
    tools.build_all()
    return "built"


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep Debian from starting the servers that it installs: the tests start their own (Debian's policy-rc.d)."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


if __name__ == "__main__":
    main()
