"""Both fleets on one broker: workers and clients of Celery in its environment, and Longshore's beside them.

Every process that is started here ends here, with its children, by pid. Knows nothing of what a test wants to see.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longshore import Longshore
from tests.support.workers import Worker, is_gone, running_worker, wait_for

APPS = Path(__file__).parent / "apps"
READY_SECONDS = 60.0


class Fleet:
    """One broker, one queue, one file of effects; as many workers and clients as a test starts."""

    def __init__(self, celery: Path, broker: str, results: str | None, folder: Path, queue: str) -> None:
        self.broker = broker
        self.queue = queue
        self.folder = folder
        self.longshore = Longshore("fleet", broker=broker, backend=results, set_as_current=False)
        self.longshore.conf.update(task_default_queue=queue)
        self._celery = celery
        self._results = results
        self._effects = folder / "effects"
        self._effects.touch()
        self._started = 0

    # -- workers -----------------------------------------------------------------------------------------------------

    @contextmanager
    def longshore_worker(self, *options: str, app: str = "fleet", broker: str | None = None) -> Iterator[Worker]:
        """Run a Longshore worker with two processes."""
        log = self._log("longshore")
        queues = [] if "-Q" in options else ["-Q", self.queue]
        words = ["-c", "2", "-l", "info", *queues, *options]
        name, environ = f"tests.conformance.apps.{app}:app", self._environ("longshore")
        with running_worker(name, *words, broker=broker or self.broker, log=log, environ=environ) as worker:
            yield worker.ready()

    @contextmanager
    def celery_worker(
        self, *options: str, app: str = "fleet", visibility: float = 3600, mingle: bool = False
    ) -> Iterator[Worker]:
        """Run a Celery worker with two processes."""
        log = self._log("celery")
        queues = [] if "-Q" in options else ["-Q", self.queue]
        command = [str(self._celery / "bin" / "celery"), "-A", app, "worker", "-c", "2", "-l", "info", *queues]
        names = ["-n", f"celery-{self._started}@localhost", "--without-gossip"]
        names += [] if mingle else ["--without-mingle"]
        environ = self._environ("celery") | {"FLEET_VISIBILITY": str(visibility)}
        with log.open("a") as output:
            process = subprocess.Popen(
                [*command, *names, *options], stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environ,
                cwd=APPS, text=True, start_new_session=True,
            )  # fmt: skip
        worker = Worker(process, log)
        try:
            wait_for("Celery's worker ready", lambda: _is_ready(worker), READY_SECONDS)
            yield worker
        finally:
            self._end(worker)

    def _end(self, worker: Worker) -> None:
        children = worker.children()
        if worker.process.poll() is None:
            worker.process.send_signal(signal.SIGTERM)
            try:
                worker.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(worker.process.pid, signal.SIGKILL)
                worker.process.wait()
        for pid in children:
            wait_for(f"Celery's child {pid} gone", lambda pid=pid: is_gone(pid), 10)

    # -- clients -----------------------------------------------------------------------------------------------------

    def celery_client(self, code: str, *, app: str = "fleet", timeout: float = 120, **values: Any) -> Any:
        """Run a function body as a Celery client and return its value."""
        done = subprocess.run(
            [str(self._celery / "bin" / "python"), "driver.py"],
            input=json.dumps({"app": app, "code": code, "values": values}), capture_output=True, text=True, cwd=APPS,
            env=self._environ("celery"), timeout=timeout,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    def celery_environ(self) -> dict[str, str]:
        """Return the environment of a process of Celery's."""
        return self._environ("celery")

    # -- what was seen -----------------------------------------------------------------------------------------------

    def ran(self) -> dict[int, list[str]]:
        """Return, for each number, who ran it to its end, as often as it did."""
        ran: dict[int, list[str]] = {}
        for line in self._effects.read_text().splitlines():
            number, who, _ = line.split()
            if who != "started":
                ran.setdefault(int(number), []).append(who)
        return ran

    def started(self) -> Counter[int]:
        """Return how often each `nap` was started."""
        lines = (line.split() for line in self._effects.read_text().splitlines())
        return Counter(int(number) for number, who, _ in lines if who == "started")

    def wait_for_all(self, count: int, timeout: float) -> dict[int, list[str]]:
        """Wait until so many numbers have run."""
        self._wait("all ran", lambda: len(self.ran()) >= count, timeout)
        return self.ran()

    def _wait(self, what: str, condition: Callable[[], object], timeout: float) -> None:
        wait_for(f"{what} ({self.folder})", condition, timeout)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _environ(self, fleet: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LONGSHORE"))}
        values = {
            "FLEET": fleet, "FLEET_BROKER": self.broker, "FLEET_QUEUE": self.queue, "EFFECTS": str(self._effects),
        }  # fmt: skip
        return inherited | values | ({"FLEET_RESULTS": self._results} if self._results else {})

    def _log(self, name: str) -> Path:
        self._started += 1
        return self.folder / f"{name}-{self._started}.log"


def _is_ready(worker: Worker) -> bool:
    assert worker.process.poll() is None, worker.log[-3000:]
    return " ready." in worker.log
