"""One run of local mode from its start to its end: the engine decides, processes follow, a display shows it.

Everything here happens in one event loop on the main thread: the parent-death signal of a worker belongs to the thread
that started it. Why a run ends is decided in one place (`_ending`); whatever way it ends, no process is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from longshore_operator.local.display import Display
from longshore_operator.local.observer import Observer
from longshore_operator.local.snapshot import Snapshot, failed_pools, unfinished, waiting_for_code
from longshore_operator.local.summary import Ending, Summary
from longshore_operator.local.workloads import LocalWorkloads

STEP_SECONDS = 0.05
LOOK_SECONDS = 0.25
LAST_REPORTS_SECONDS = 3.0
"""Workers report every 2 s: how long the end of a run waits for figures that are newer than its last task."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends by itself."""

    until_idle: bool = False
    timeout: float | None = None


class Session:
    """One run."""

    def __init__(
        self,
        observer: Observer,
        workloads: LocalWorkloads,
        engine: contextlib.AbstractAsyncContextManager[object],
        display: Display,
        limits: Limits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._observer = observer
        self._workloads = workloads
        self._engine = engine
        self._display = display
        self._limits = limits
        self._clock = clock
        self._interrupts = 0
        self._problems: tuple[str, ...] = ()

    async def run(self) -> Summary:
        """Run until something ends it, drain, and return the figures."""
        with self._signals():
            try:
                async with asyncio.TaskGroup() as group:
                    stepping = group.create_task(self._keep_stepping())
                    async with self._engine:
                        ending = await self._watch()
                    finished_at = self._clock()
                    ending = await self._finish(ending, finished_at)
                    stepping.cancel()
                return await self._observer.summarize(ending, finished_at, self._problems)
            finally:
                self._workloads.kill()
                self._observer.close()

    # -- while it runs -----------------------------------------------------------------------------------------------

    async def _keep_stepping(self) -> None:
        while True:
            self._workloads.step()
            await asyncio.sleep(STEP_SECONDS)

    async def _watch(self) -> Ending:
        """Show how things go until there is a reason to end. Idle is what two looks in a row say."""
        idle_before = False
        while True:
            snapshot = await self._look()
            idle = self._limits.until_idle and not unfinished(snapshot)
            ending = self._ending(snapshot, idle=idle and idle_before)
            if ending is not None:
                return ending
            idle_before = idle
            await asyncio.sleep(LOOK_SECONDS)

    def _ending(self, snapshot: Snapshot, *, idle: bool) -> Ending | None:
        if self._interrupts:
            return "Drained"
        failed = failed_pools(snapshot)
        if failed and self._limits.until_idle:
            self._problems = tuple(f"pool {pool.name}: {pool.problem}" for pool in failed)
            return "Failed"
        unknown = waiting_for_code(snapshot)
        if unknown and self._limits.until_idle:
            self._problems = tuple(unknown)
            return "Failed"
        if idle:
            return "Idle"
        timeout = self._limits.timeout
        if timeout is not None and self._clock() - self._observer.started_at >= timeout:
            self._problems = tuple(f"not done: {what}" for what in unfinished(snapshot))
            return "TimedOut"
        return None

    async def _look(self) -> Snapshot:
        snapshot = await self._observer.look(self._notice())
        self._display.show(snapshot)
        return snapshot

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _finish(self, ending: Ending, finished_at: float) -> Ending:
        """Wait for the workers' last figures, then until every worker has drained or is killed."""
        deadline = finished_at + LAST_REPORTS_SECONDS
        while ending == "Idle" and self._clock() < deadline and not self._observer.reported_since(finished_at):
            await self._look()
            await asyncio.sleep(STEP_SECONDS)
        self._workloads.drain()
        while any(self._workloads.pods()):
            await self._look()
            await asyncio.sleep(STEP_SECONDS)
        return "Killed" if self._interrupts > 1 else ending

    def _notice(self) -> str | None:
        if not self._interrupts:
            return None
        left = sum(1 for _ in self._workloads.pods())
        workers = "1 worker" if left == 1 else f"{left} workers"
        if self._interrupts > 1:
            return f"killing {workers}: what they ran goes back to its queue"
        return f"draining {workers}: what runs may finish; Ctrl-C again kills (nothing is lost)"

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._interrupt)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        """Drain at the first one, kill at the second one, at once; the loop notices at its next turn."""
        self._interrupts += 1
        self._display.say(self._notice() or "")
        if self._interrupts > 1:
            self._workloads.kill()
        else:
            self._workloads.drain()
