"""A folder, a broker and a client for the tests of workers; each test runs on every broker."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from longshore.app import Longshore
from longshore.brokers.port import QueueSpec
from tests.support.workers import running_worker
from tests.worker import tasks_for_tests as tasks

APP = "tests.worker.tasks_for_tests:app"


class Bench:
    """A folder with effects, a broker, results, and a client on them."""

    def __init__(
        self,
        folder: Path,
        broker: str,
        results: str,
        monkeypatch: pytest.MonkeyPatch,
        app: Longshore = tasks.app,
        path: str = APP,
    ) -> None:
        self.path = path
        self.folder = folder
        self.broker = broker
        self.effects_file = folder / "effects"
        self.environ = {"EFFECTS": str(self.effects_file), "LONGSHORE_RESULT_BACKEND": results}
        monkeypatch.setenv("LONGSHORE_BROKER_URL", broker)
        monkeypatch.setenv("LONGSHORE_RESULT_BACKEND", results)
        self.app = app
        self.app.close()
        self.queue = f"q-{uuid.uuid4().hex[:8]}"
        monkeypatch.setitem(self.app.conf, "task_default_queue", self.queue)
        self.app.broker.declare([QueueSpec(self.queue), QueueSpec(f"{self.queue}.dead")])

    def worker(self, *options: str):
        return running_worker(
            self.path, "-Q", self.queue, *options, broker=self.broker, log=self.folder / "log", environ=self.environ
        )

    def effects(self) -> list[str]:
        return self.effects_file.read_text().splitlines() if self.effects_file.exists() else []

    def depth(self):
        return self.app.broker.depths([self.queue])[self.queue]

    def dead(self):
        return self.app.broker.peek(f"{self.queue}.dead", 1000)

    def reports(self):
        return [report for report in self.app.broker.workers() if self.queue in report.queues]

    @property
    def counts_all(self) -> bool:
        capabilities = self.app.broker.capabilities
        return capabilities.counts_leased and capabilities.counts_delayed

    def empty(self) -> bool:
        """Nothing is ready, leased or delayed, as far as this broker can tell."""
        depth = self.depth()
        return depth is not None and not (depth.ready or depth.leased or depth.delayed)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("redis", marks=pytest.mark.integration),
        pytest.param("rabbitmq", marks=pytest.mark.integration),
    ]
)
def servers(request, tmp_path) -> tuple[str, str]:
    """The addresses of a broker and of results (a store as well, where the broker is none)."""
    results = f"sqlite:///{tmp_path}/results.db"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/broker.db", results
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        return url, url
    return request.getfixturevalue("rabbitmq_url"), results


@pytest.fixture
def bench(servers, tmp_path, monkeypatch):
    bench = Bench(tmp_path, *servers, monkeypatch)
    yield bench
    bench.app.close()
