"""A task that acknowledges itself: what comes before that point may run twice, what comes after at most once."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.workers import wait_for
from tests.worker import tasks_for_tests as tasks

MODES = pytest.mark.parametrize("mode", ["processes", "threads", "asyncio"])


@MODES
@pytest.mark.parity("F7")
def test_after_it_has_acknowledged_a_task_never_runs_again(bench, mode):
    with bench.worker("-c", "1", "--execution", mode) as worker:
        tasks.acknowledges.delay("a", str(bench.folder / "never"))
        wait_for("acknowledged", lambda: "acknowledged a" in bench.effects())
        os.kill(worker.children()[0], signal.SIGKILL)
        assert tasks.add.delay(1, 1).get(timeout=20) == 2, "the worker goes on"
        wait_for("nothing is left", bench.empty)
    assert [line.split()[0] for line in bench.effects()] == ["start", "acknowledged", "add"]


@MODES
@pytest.mark.parity("F7")
def test_results_retries_and_rejections_go_on_as_before(bench, mode):
    go = bench.folder / "go"
    go.touch()
    with bench.worker("-c", "1", "--execution", mode):
        assert tasks.acknowledges.delay("fine", str(go)).get(timeout=20) == "fine"
        assert tasks.acknowledges.delay("again", str(go)).get(timeout=20) == "again"
        tasks.acknowledges.delay("rejected", str(go))
        wait_for("the dead letter", bench.dead)
        wait_for("nothing is left", bench.empty)


def test_outside_a_worker_it_does_nothing(bench, monkeypatch):
    (bench.folder / "go").touch()
    monkeypatch.setenv("EFFECTS", str(bench.effects_file))
    assert tasks.acknowledges.apply(("here", str(bench.folder / "go"))).get() == "here"
    tasks.acknowledges.acknowledge()
