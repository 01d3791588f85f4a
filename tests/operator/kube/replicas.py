"""Replicas of the operator for tests: real processes against the test's API server, each ended by its pid."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import ApiServer, free_ports

PATIENCE_SECONDS = 20.0


@dataclass
class Replica:
    """One operator process."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def get(self, path: str) -> str:
        """Read from its probes."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
            text: str = response.read().decode()
            return text

    def figure(self, name: str) -> float:
        """Return one of its metrics; 0 where it has not been counted yet."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics"), re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    def writes(self) -> float:
        """Return how many write requests it has sent."""
        methods = ("POST", "PUT", "PATCH", "DELETE")
        return sum(self.figure(f'longshore_operator_api_requests_total{{method="{one}"}}') for one in methods)

    def leads(self) -> bool:
        """Whether it leads."""
        return self.figure("longshore_operator_leader") == 1

    def rss_megabytes(self) -> float:
        """Return its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024

    def text(self) -> str:
        """Return its log so far."""
        return self.log.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_SECONDS)


@contextmanager
def replica(
    server: ApiServer, namespace: str, folder: Path, *options: str, kubeconfig: Path | None = None
) -> Iterator[Replica]:
    """Start a replica that serves one namespace, every warning an error; it is gone when the block ends."""
    (port,) = free_ports(1)
    log = folder / f"operator-{port}.log"
    command = [
        sys.executable, "-W", "error", "-m", "longshore_operator.cli.main", "run", "--namespace", namespace,
        "--lease-namespace", namespace, "--http-host", "127.0.0.1", "--http-port", str(port), *options,
    ]  # fmt: skip
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig or server.kubeconfig)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    one = Replica(process, port, log)
    try:
        eventually(lambda: _answers(one), "the operator does not start", one)
        yield one
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _answers(one: Replica) -> bool:
    if one.process.poll() is not None:
        pytest.fail(f"the operator ended:\n{one.text()}")
    try:
        return one.get("/readyz") == "ok\n"
    except OSError:
        return False


def eventually(check: Callable[[], Any], what: str, *replicas: Replica, within: float = PATIENCE_SECONDS) -> Any:
    """Wait until `check` returns something true, and return it."""
    deadline = time.monotonic() + within
    while not (found := check()):
        if time.monotonic() > deadline:
            logs = "\n".join(one.text()[-3000:] for one in replicas)
            pytest.fail(f"{what}\n{logs}")
        time.sleep(0.1)
    return found


def condition(item: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return a condition of an object; empty when it has none."""
    found = (one for one in item.get("status", {}).get("conditions", ()) if one["type"] == kind)
    return next(found, {})
