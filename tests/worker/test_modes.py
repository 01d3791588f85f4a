"""Threads and coroutines: many tasks at a time in one process, with the same promises."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.workers import running_worker, wait_for
from tests.worker import tasks_for_tests as tasks

APP = "tests.worker.tasks_for_tests:app"
MODES = pytest.mark.parametrize("mode", ["threads", "asyncio"])


@MODES
def test_tasks_run_side_by_side_and_each_once(bench, mode):
    """All eight are inside their task at the same time, or none of them would ever end."""
    go = bench.folder / "go"
    with bench.worker("--execution", mode, "-c", "8", "--ack-policy", "late") as worker:
        results = [tasks.slow.delay(str(number), str(go)) for number in range(8)]
        wait_for("all started", lambda: len(bench.effects()) == 8)
        assert len(worker.children()) == 1
        go.touch()
        assert [result.get(timeout=20) for result in results] == [str(number) for number in range(8)]
        wait_for("settled", bench.empty)


@MODES
def test_coroutines_functions_retries_and_failures(bench, mode):
    with bench.worker("--execution", mode, "-c", "4"):
        assert tasks.coroutine.delay(21).get(timeout=20) == 42
        assert tasks.add.delay(1, 2).get(timeout=20) == 3
        assert tasks.flaky.delay(2).get(timeout=20) == 2
        with pytest.raises(ValueError, match="it broke"):
            tasks.fails.delay("it broke").get(timeout=20)


@MODES
def test_sigterm_finishes_what_runs(bench, mode):
    go = bench.folder / "go"
    with bench.worker("--execution", mode, "-c", "2") as worker:
        for name in "abc":
            tasks.slow.delay(name, str(go))
        wait_for("two started", lambda: len(bench.effects()) == 2)
        worker.process.send_signal(signal.SIGTERM)
        wait_for("it says that it drains", lambda: "draining" in worker.log)
        go.touch()
        assert worker.process.wait(20) == 0
    assert len([line for line in bench.effects() if line.startswith("end")]) == 2
    assert bench.depth().ready == 1


@pytest.mark.integration
@pytest.mark.parametrize("mode", ["processes", "threads"])
def test_a_worker_whose_broker_is_gone_drains_and_says_so_in_one_line(new_redis, tmp_path, mode):
    server = new_redis()
    with running_worker(
        APP, "-Q", "q", "--execution", mode, "-c", "1", broker=server.url(), log=tmp_path / "log"
    ) as worker:
        worker.ready()
        server.kill()
        assert worker.terminate(timeout=30) == 0
        assert "Traceback" not in worker.log
        assert "defect" not in worker.log


@MODES
def test_when_the_process_dies_all_that_it_ran_runs_again(bench, mode):
    go = bench.folder / "go"
    with bench.worker("--execution", mode, "-c", "3") as worker:
        for name in "abc":
            tasks.slow.delay(name, str(go))
        wait_for("all started", lambda: len(bench.effects()) == 3)
        [child] = worker.children()
        os.kill(child, signal.SIGKILL)
        go.touch()
        wait_for("all ended", lambda: {"end a", "end b", "end c"} <= set(bench.effects()))
        wait_for("settled", bench.empty)
