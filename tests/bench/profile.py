"""Where the time of one no-op task goes: one worker process run in this process under cProfile, on a backlog.

``python -m tests.bench.profile redis|rabbitmq|sqlite [--count N] [--early]`` prints microseconds a task, by function;
``--bare`` runs without the profiler, and says what it costs.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from longshore import Longshore
from longshore.brokers.port import Owner, QueueSpec
from longshore.worker.board import Board
from longshore.worker.conditions import Conditions
from longshore.worker.locks import LockPipe
from longshore.worker.options import WorkerOptions
from longshore.worker.rates import RateChanges
from longshore.worker.revocations import Ledger, Revoked
from longshore.worker.signals import WakePipe
from longshore.worker.tasks import TaskProcess
from tests.bench.servers import QUEUE, Servers, clean_up_on_sigterm

_FILL = 1000


def main() -> None:
    """Fill, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("broker", choices=["redis", "rabbitmq", "sqlite"])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--early", action="store_true")
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--lines", type=int, default=40)
    options = parser.parse_args()
    clean_up_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="longshore-profile-") as folder, Servers(Path(folder)) as servers:
        url = servers.fresh(options.broker)
        app = Longshore("profile", broker=f"sqlite:///{url}" if options.broker == "sqlite" else url)
        process, gone = _process(app, options.count, early=options.early)
        _fill(app, options.count)
        gc.collect()
        gc.freeze()
        profiler = cProfile.Profile()
        began, cpu = time.perf_counter(), time.process_time()
        process.run() if options.bare else profiler.runcall(process.run)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        app.close()
    each, own = seconds / options.count * 1e6, cpu / options.count * 1e6
    print(f"{gone()} tasks in {seconds:.2f} s: {each:.1f} µs a task, {own:.1f} µs of it on the processor")
    if not options.bare:
        _print(profiler, options.count, options.lines)


def _process(app: Longshore, count: int, *, early: bool) -> tuple[TaskProcess, Callable[[], int]]:
    """A process that drains itself after the last task."""
    app.broker.declare([QueueSpec(QUEUE)])
    options = WorkerOptions(queues=(QUEUE,), concurrency=1, worker="profile", name="profile", late_by_default=not early)
    conditions = Conditions(app, options.worker, LockPipe(), RateChanges())
    process = TaskProcess(
        app, options, Owner("profile", 1), [Board(1).pen(0)], WakePipe(), conditions, Revoked(Ledger())
    )
    ran = [0]

    @app.task(name="bench.noop")
    def noop() -> None:
        ran[0] += 1
        if ran[0] == count:
            process.drain()

    return process, lambda: ran[0]


def _fill(app: Longshore, count: int) -> None:
    for start in range(0, count, _FILL):
        app.send_many([("bench.noop", ())] * min(_FILL, count - start), queue=QUEUE)


def _print(profiler: cProfile.Profile, count: int, lines: int) -> None:
    stats: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    print(f"{'own µs':>8} {'all µs':>8} {'calls':>7}  function (per task, profiler's cost included)")
    for where, (_, calls, own, cumulative, _) in sorted(stats.items(), key=lambda item: -item[1][2])[:lines]:
        file, line, name = where
        short = "/".join(Path(file).parts[-2:]) if file != "~" else ""
        print(f"{own / count * 1e6:8.2f} {cumulative / count * 1e6:8.2f} {calls / count:7.2f}  {short}:{line} {name}")


if __name__ == "__main__":
    main()
