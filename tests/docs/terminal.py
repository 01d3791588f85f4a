"""A terminal for pages: runs their commands with bash, keeps folder and variables, compares what is printed.

In a page, `...` stands for anything, an id for any id, and spaces for any number of them. `longshore dev` without
`--until-idle` goes on in the background, as in a terminal of its own, until a page says `^C`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from tests.docs.pages import Step
from tests.support.workers import wait_for

SECONDS = 90.0
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LOOKS = re.compile(r"(kubectl .*-- )?longshore (queue|dead) ls |kubectl (-n \S+ )?get ")


class Terminal:
    """One reader's terminals. What it starts ends with it."""

    def __init__(self, folder: Path, path: str, **environment: str) -> None:
        self.folder = folder
        self._state = folder.parent / "state.sh"
        exports = "".join(f"export {name}='{value}'\n" for name, value in environment.items())
        self._state.write_text(f"cd '{folder}'\nexport PATH='{path}':\"$PATH\"\n{exports}")
        self._running: subprocess.Popen[str] | None = None

    def run(self, step: Step) -> None:
        """Carry out a step, and check what it prints. A look is repeated until what is awaited has come."""
        if step.command == "^C":
            check(step, self.interrupt())
        elif step.command.startswith("longshore dev") and "--until-idle" not in step.command:
            self._start(step)
        elif _LOOKS.match(step.command):
            self._look(step)
        else:
            check(step, self._output(step.command))

    def _look(self, step: Step) -> None:
        last = [""]

        def seen() -> bool:
            last[0] = self._output(step.command)
            return matches(step, last[0])

        try:
            wait_for(step.command, seen, SECONDS)
        except AssertionError:
            check(step, last[0])

    def _output(self, command: str) -> str:
        script = f". '{self._state}'\n{command}\n{{ export -p; echo \"cd '$PWD'\"; }} > '{self._state}'"
        done = subprocess.run(
            ["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=2 * SECONDS
        )
        return done.stdout

    def _start(self, step: Step) -> None:
        self._log = self.folder.parent / "running.log"
        script = f". '{self._state}'; exec {step.command}"
        with self._log.open("w") as log:
            self._running = subprocess.Popen(["bash", "-c", script], stdout=log, stderr=log, text=True)
        wait_for(step.command, lambda: matches(step, self._log.read_text()), SECONDS)

    def interrupt(self) -> str:
        """Press Ctrl-C, wait for the end, and return what was printed since then."""
        assert self._running is not None, "nothing runs that ^C could end"
        before = len(self._log.read_text())
        self._running.send_signal(signal.SIGINT)
        assert self._running.wait(SECONDS) == 0, self._log.read_text()
        self._running = None
        return self._log.read_text()[before:]

    def close(self) -> None:
        """End what still runs."""
        if self._running is not None and self._running.poll() is None:
            os.kill(self._running.pid, signal.SIGTERM)
            self._running.wait(SECONDS)


def check(step: Step, output: str) -> None:
    assert matches(step, output), f"$ {step.command}\n{output}\n-- the page says:\n" + "\n".join(step.expected)


def matches(step: Step, output: str) -> bool:
    """Whether the lines of the page are in the output, in their order."""
    lines = iter(_plain(line) for line in output.splitlines())
    wanted = [_plain(line) for line in step.expected if line != "..."]
    return all(any(_fits(line, printed) for printed in lines) for line in wanted)


def _plain(line: str) -> str:
    return " ".join(_UUID.sub("ID", line).split())


def _fits(wanted: str, printed: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in wanted.split("..."))
    return re.fullmatch(pattern, printed) is not None
