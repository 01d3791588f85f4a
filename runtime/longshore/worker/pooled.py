"""One process of a worker in the modes `threads` and `asyncio`: many tasks at a time beside one consumer.

The main thread claims as many messages as slots are free and settles what has ended; tasks run in threads, or on one
event loop in a thread of its own. Whoever ends rings the main thread's pipe.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from longshore.app import Longshore
from longshore.brokers.port import Broker, Claim, Consumer, Owner
from longshore.core.backoff import reconnect_delay
from longshore.exceptions import BackendError, BrokerError, BrokerRefused
from longshore.run import Run
from longshore.worker.board import Pen
from longshore.worker.conditions import Conditions
from longshore.worker.endings import Endings, close
from longshore.worker.events import TaskEvents
from longshore.worker.limits import Clock, ThreadGuard
from longshore.worker.options import WorkerOptions
from longshore.worker.plan import Plans
from longshore.worker.quota import Quota
from longshore.worker.revocations import Revoked, is_stop_of
from longshore.worker.runs import Prepared, Runs
from longshore.worker.signals import WakePipe

logger = logging.getLogger("longshore.worker")

IDLE_WAIT_SECONDS = 30.0


class Executor(Protocol):
    """Where tasks run. `submit` returns at once; `done` is called from anywhere when the run has ended."""

    def submit(self, prepared: Prepared, pen: Pen, done: Callable[[], None]) -> None:
        """Run it."""

    def stop(self, key: bytes) -> None:
        """End the run that this key means, if it is here and can be interrupted."""


class ThreadExecutor:
    """A thread for each slot."""

    def __init__(self, slots: int) -> None:
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="task")

    def submit(self, prepared: Prepared, pen: Pen, done: Callable[[], None]) -> None:
        """Run it in a thread."""
        self._pool.submit(Runs.perform, prepared, pen).add_done_callback(lambda _: done())

    def stop(self, key: bytes) -> None:
        """A thread cannot be ended: its supervisor ends the process."""


class LoopExecutor:
    """One event loop, in a daemon thread; a plain function runs in a thread beside it."""

    def __init__(self, slots: int) -> None:
        import asyncio
        import threading

        self._asyncio = asyncio
        self._running: dict[str, tuple[Run, asyncio.Task[Any] | None]] = {}
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(slots, thread_name_prefix="task"))
        threading.Thread(target=self._loop.run_forever, name="loop", daemon=True).start()

    def submit(self, prepared: Prepared, pen: Pen, done: Callable[[], None]) -> None:
        """Run it on the loop."""
        coroutine = self._run(prepared, pen)
        self._asyncio.run_coroutine_threadsafe(coroutine, self._loop).add_done_callback(lambda _: done())

    async def _run(self, prepared: Prepared, pen: Pen) -> None:
        task_id = prepared.run.call.id
        self._running[task_id] = prepared.run, self._asyncio.current_task()
        try:
            await Runs.perform_async(prepared, pen)
        finally:
            self._running.pop(task_id, None)

    def stop(self, key: bytes) -> None:
        """Cancel a coroutine; of a plain function in a thread it changes nothing."""
        for task_id, (run, task) in list(self._running.items()):
            if task is not None and is_stop_of(key, task_id):
                run.stopped = True
                self._loop.call_soon_threadsafe(task.cancel)


class PooledProcess:
    """The loop of one process with many slots. `wake` is rung by signals and by tasks that end."""

    def __init__(
        self,
        app: Longshore,
        options: WorkerOptions,
        owner: Owner,
        pens: list[Pen],
        wake: WakePipe,
        conditions: Conditions,
        revoked: Revoked,
    ) -> None:
        self._options = options
        self._owner = owner
        self._wake = wake
        self._broker: Broker = app.broker
        plans = Plans(app, options)
        self._endings = Endings(app, plans, self._pause)
        self._revoked = revoked
        clock = Clock()

        def guard(seconds: float) -> ThreadGuard:
            return ThreadGuard(seconds, clock)

        self._runs = Runs(app, options, plans, self._endings, conditions, revoked=revoked, guard=guard)
        self._quota = Quota.of(options)
        self._first_pen = pens[0]
        self._events = TaskEvents(app, options.name, pens[0])
        self._free = list(pens)
        self._slots = len(pens)
        self._ended: deque[tuple[Prepared, Pen]] = deque()
        self._executor: Executor = (LoopExecutor if options.execution == "asyncio" else ThreadExecutor)(self._slots)
        self._draining = False
        self._asked: deque[tuple[Claim, Future[None]]] = deque()
        self._runs.acknowledger = self._acknowledge

    def drain(self) -> None:
        """Claim no more; what runs is finished. Safe in a signal handler."""
        self._draining = True

    def run(self) -> None:
        """Work until drained. A broker that goes away is waited for; one that refuses for good raises."""
        results = self._endings.stored_with_settlement
        consumer = self._broker.consumer(self._owner, self._options.queues, wake_fd=self._wake.fd, results=results)
        self._first_pen.ready()
        failures = 0
        try:
            while not self._is_done():
                try:
                    self._step(consumer)
                    failures = 0
                except BrokerRefused:
                    raise
                except BrokerError as error:
                    failures += 1
                    self._lost_broker(error, failures)
            self._endings.leave(consumer)
            self._events.close()
        except BackendError as error:
            logger.error("%s; what could not be stored goes back to its queue", error)
            close(consumer)

    def _step(self, consumer: Consumer) -> None:
        """Settle what has ended, claim for the free slots, wait for news."""
        self._collect()
        self._answer(consumer)
        for key in self._revoked.refresh():
            self._executor.stop(key)
        self._endings.hand_over(consumer)
        if self._ended or self._is_done():  # waiting for the result backend may have taken the ring that told of it
            return
        if self._draining or not self._free:
            consumer.flush()
            self._wake.wait(IDLE_WAIT_SECONDS)
            return
        claims = consumer.claim(self._room(), IDLE_WAIT_SECONDS)
        self._events.follow()
        for key in self._revoked.refresh():
            self._executor.stop(key)
        group = [each for claim in claims if (each := self._runs.prepare(claim, self._first_pen)) is not None]
        self._runs.begin(consumer, group)  # there is a free slot for each: all of them start now
        for prepared in group:
            self._submit(prepared)
        self._wake.wait(0)

    def _acknowledge(self, claim: Claim) -> None:
        """Called by a task that acknowledges itself, in its own thread: the consumer belongs to the main one."""
        answer: Future[None] = Future()
        self._asked.append((claim, answer))
        self._wake.ring()
        answer.result()

    def _answer(self, consumer: Consumer) -> None:
        while self._asked:
            claim, answer = self._asked.popleft()
            try:
                consumer.acknowledge_now([claim])
            except BrokerError as error:
                answer.set_exception(error)
                raise
            answer.set_result(None)

    def _room(self) -> int:
        return len(self._free) if self._quota is None else self._quota.claimable(len(self._free))

    def _is_done(self) -> bool:
        return self._draining and len(self._free) == self._slots

    def _submit(self, prepared: Prepared) -> None:
        if self._quota is not None:
            self._quota.ran()
        pen = self._free.pop()
        pen.holding(1)

        def done() -> None:
            self._ended.append((prepared, pen))
            self._wake.ring()

        self._executor.submit(prepared, pen, done)

    def _collect(self) -> None:
        while self._ended:
            prepared, pen = self._ended.popleft()
            self._runs.finish(prepared)
            if self._first_pen.tally is not None and prepared.execution is not None:
                name, outcome = prepared.run.call.name, prepared.execution.outcome
                self._first_pen.tally.note(name, outcome, prepared.seconds, overhead=False)
            pen.holding(0)
            pen.settled()
            self._free.append(pen)
            if self._quota is not None and not self._draining and (why := self._quota.spent()) is not None:
                logger.info("process %d is replaced when its tasks have ended: %s", os.getpid(), why)
                self.drain()

    def _lost_broker(self, error: BrokerError, failures: int) -> None:
        """Running tasks go on; their settlements are noted, and leave when the broker is back."""
        if failures == 1:
            logger.warning("broker lost: %s; trying again until it is back", error)
        self._pause(reconnect_delay(failures))

    def _pause(self, seconds: float) -> bool:
        self._wake.wait(seconds)
        return self._draining
