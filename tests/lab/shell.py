"""Run a command and say in one readable line why it failed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path


class LabError(Exception):
    """The lab cannot go on; the message says what is wrong and what to do."""


class CommandFailed(LabError):
    """A command ended with another exit code than 0."""

    def __init__(self, result: subprocess.CompletedProcess[str]) -> None:
        command = " ".join(result.args[:6])
        output = (result.stderr or result.stdout or "").strip()
        super().__init__(f"`{command}` ended with exit code {result.returncode}: {output[-2000:]}")
        self.result = result


def run(
    *command: str | Path | int,
    check: bool = True,
    input: str | None = None,  # noqa: A002 (the name that subprocess has for it)
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with its output captured."""
    result = subprocess.run(
        [str(word) for word in command],
        check=False,
        text=True,
        capture_output=True,
        input=input,
        env=env,
        cwd=cwd,
        timeout=timeout,
    )
    if check and result.returncode != 0:
        raise CommandFailed(result)
    return result


def succeeds(*command: str | Path | int) -> bool:
    """Whether a command ends with exit code 0."""
    return run(*command, check=False).returncode == 0
