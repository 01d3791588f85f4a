"""The bench of the worker tests, with an app whose tasks are made for canvases."""

from __future__ import annotations

import pytest

from tests.canvas import tasks_for_tests as tasks
from tests.worker.conftest import Bench, servers

__all__ = ["bench", "servers"]


@pytest.fixture
def bench(servers, tmp_path, monkeypatch):
    bench = Bench(tmp_path, *servers, monkeypatch, tasks.app, "tests.canvas.tasks_for_tests:app")
    bench.environ["CANVAS_QUEUE"] = bench.queue
    yield bench
    bench.app.close()
