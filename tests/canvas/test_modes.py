"""Canvases in the execution modes that share a process among tasks."""

from __future__ import annotations

import pytest

from tests.canvas import tasks_for_tests as tasks

WAIT = 40


@pytest.fixture
def servers(tmp_path):
    return f"sqlite:///{tmp_path}/broker.db", f"sqlite:///{tmp_path}/results.db"


@pytest.mark.parity("D4")
@pytest.mark.parametrize("mode", ["threads", "asyncio"])
def test_every_composition_gives_what_it_means(bench, mode):
    with bench.worker("--execution", mode, "-c", "4"):
        sent = {name: canvas.apply_async() for name, (canvas, _) in tasks.CANVASES.items()}
        expected = {name: value for name, (_, value) in tasks.CANVASES.items()}
        assert {name: result.get(timeout=WAIT) for name, result in sent.items()} == expected
