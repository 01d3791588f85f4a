"""A real `longshore dev` for tests: its own folder, app and manifests; whatever happens, nothing of it is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from longshore.app import Longshore
from longshore.brokers import open_broker
from longshore.brokers.port import QueueDepth
from tests.support.workers import wait_for

TASKS = """
import os, time
from pathlib import Path
from longshore import Longshore

app = Longshore("shop")
HERE = Path(__file__).parent


@app.task(queue="orders")
def note(word, seconds=0.0):
    with (HERE / "started").open("a") as file:
        file.write(f"{word}\\n")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not (HERE / "go").exists():
        time.sleep(0.01)
    with (HERE / "done").open("a") as file:
        file.write(f"{word}\\n")


@app.task(queue="orders")
def show(variable):
    (HERE / variable).write_text(os.environ.get(variable, "not set"))


@app.task(queue="orders")
def fail():
    raise RuntimeError("no such luck")
"""
MANIFESTS = """
apiVersion: longshore.dev/v1alpha1
kind: TaskQueue
metadata: {name: orders}
spec: {deadLetter: {maxDeliveries: 5}}
---
apiVersion: longshore.dev/v1alpha1
kind: WorkerPool
metadata: {name: shop}
spec:
  app: shop_tasks:app
  queues: [{name: orders}]
  concurrency: 2
  drainTimeoutSeconds: 30
  autoscaling:
    minReplicas: 0
    maxReplicas: 1
    target: {type: Backlog, backlogPerReplica: 10}
    scaleToZeroAfterSeconds: 1
"""


class Shop:
    """A folder with an app, manifests and a state folder; and the `longshore dev` that runs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / ".longshore"
        self.errors = folder / "stderr"
        self.process: subprocess.Popen[str] | None = None
        (folder / "shop_tasks.py").write_text(TASKS)
        (folder / "all.yaml").write_text(MANIFESTS)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.state / 'broker.db'}"

    def send(self, name: str, *calls: tuple) -> None:
        self.state.mkdir(exist_ok=True)
        with contextlib.closing(Longshore("client", broker=self.url, set_as_current=False)) as app:
            for args in calls:
                app.send_task(f"shop_tasks.{name}", args, queue="orders")

    def depth(self, queue: str = "orders") -> QueueDepth | None:
        with contextlib.closing(open_broker(self.url)) as broker:
            return broker.depths([queue])[queue]

    def words(self, file: str) -> list[str]:
        path = self.folder / file
        return path.read_text().split() if path.exists() else []

    def start(self, *options: str) -> subprocess.Popen[str]:
        self.stop()
        with self.errors.open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "longshore", "dev", "all.yaml", *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        return self.process

    def run(self, *options: str, timeout: float = 60.0) -> int:
        process = self.start(*options)
        self.output, _ = process.communicate(timeout=timeout)
        return process.returncode

    def finish(self) -> dict:
        """Let a run end by itself, and return its summary."""
        assert self.run("--until-idle", "--output", "json") == 0, self.said()
        return json.loads(self.output)

    def said(self) -> str:
        return self.errors.read_text() if self.errors.exists() else ""

    def log(self) -> str:
        """What the first worker of the pool logged."""
        return (self.state / "logs/shop-0.log").read_text()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def processes(self) -> list[int]:
        return descendants(self.process.pid)

    def stop(self) -> None:
        """End whatever is left, by pid."""
        if self.process is None:
            return
        left = self.processes()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def shop_in(folder: Path) -> Iterator[Shop]:
    shop = Shop(folder)
    try:
        yield shop
    finally:
        shop.stop()


def descendants(root: int) -> list[int]:
    """Return the processes below one, nearest first; a zombie does not run."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents.setdefault(int(parent), []).append(int(folder.name))
    found = list(parents.get(root, []))
    for pid in found:
        found += parents.get(pid, [])
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: list[int], timeout: float = 10.0) -> None:
    wait_for(f"processes {pids} gone", lambda: not any(runs(pid) for pid in pids), timeout)
