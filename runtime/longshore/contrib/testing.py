"""A worker inside the process of a test: real claims, settlements and retries, on tasks that the test defines."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator, Sequence

from longshore.app import Longshore
from longshore.brokers.port import Owner, QueueSpec
from longshore.worker.board import Board
from longshore.worker.conditions import Conditions, check_store
from longshore.worker.keeper import Keeper
from longshore.worker.locks import LockKeeper
from longshore.worker.options import Execution, WorkerOptions
from longshore.worker.pooled import PooledProcess
from longshore.worker.rates import RateChanges
from longshore.worker.revocations import Revocations, Revoked
from longshore.worker.signals import WakePipe

STOP_SECONDS = 30.0


@contextlib.contextmanager
def start_worker(
    app: Longshore,
    *,
    queues: Sequence[str] = (),
    concurrency: int = 1,
    execution: Execution = "threads",
    ack_late: bool = True,
) -> Iterator[WorkerOptions]:
    """Run a worker of `app` in threads of this process; afterwards it has drained.

    Tasks share the memory of the test, so that it can look at what they did. Time limits and signals need a worker of
    its own process: `longshore worker`.
    """
    if execution == "processes":
        raise ValueError("a worker inside a test has no processes: execution is 'threads' or 'asyncio'")
    app.finalize()
    name = f"test.{uuid.uuid4().hex[:12]}"
    options = WorkerOptions(
        queues=tuple(queues) or (app.conf.task_default_queue,),
        concurrency=concurrency,
        worker=name,
        name=f"longshore@{name}",
        execution=execution,
        late_by_default=ack_late,
    )
    app.broker.declare([QueueSpec(queue) for queue in options.queues])
    board, wake, owner = Board(concurrency), WakePipe(), Owner(name, 1)
    check_store(app, app.tasks)
    locks = LockKeeper(app.open_store)
    conditions = Conditions(app, name, locks.pipe, RateChanges())
    revocations = Revocations(app.open_store() if app.has_store else None)
    pens = [board.pen(slot) for slot in range(concurrency)]
    process = PooledProcess(app, options, owner, pens, wake, conditions, Revoked(revocations.ledger))
    keeper = Keeper(app.broker, options, board, app.tasks, revocations)
    thread = threading.Thread(target=process.run, name="longshore-worker", daemon=True)
    keeper.start([owner])
    locks.start()
    thread.start()
    try:
        yield options
    finally:
        process.drain()
        wake.ring()
        thread.join(STOP_SECONDS)
        keeper.stop()
        locks.stop()
        if thread.is_alive():
            raise TimeoutError(f"the worker did not end within {STOP_SECONDS:.0f} s: a task still runs")
