"""Soft time limits: how `SoftTimeLimitExceeded` gets into a running task, in each place where tasks run.

In a main thread by a timer's signal, in other threads by the interpreter (when a blocking call returns), in a coroutine
where it waits. What none of these reaches is ended by the hard limit, with its process. Only runs that have a limit
come here.
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Self

from longshore.exceptions import SoftTimeLimitExceeded

if TYPE_CHECKING:
    import asyncio

    from longshore.worker.interruptible import Interruptible


_FEW = 64


class AlarmGuard:
    """For a task in the main thread of its process: SIGALRM interrupts system calls as well."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._armed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driven: Interruptible | None = None

    def __enter__(self) -> Self:
        signal.signal(signal.SIGALRM, self._ring)
        self._armed = True
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        return self

    def __exit__(self, *_: object) -> None:
        self._armed = False  # first: a signal that came in time but is handled only now is too late
        signal.setitimer(signal.ITIMER_REAL, 0)

    async def interruptible(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await a coroutine that the alarm can interrupt, while it computes and while it waits."""
        import asyncio

        from longshore.worker.interruptible import Interruptible

        self._loop, self._driven = asyncio.get_running_loop(), Interruptible(coroutine)
        return await self._driven

    def _ring(self, *_: object) -> None:
        if not self._armed:
            return
        self._armed = False
        if not self._waits():
            raise SoftTimeLimitExceeded
        assert self._loop is not None
        assert self._driven is not None
        self._loop.call_soon_threadsafe(self._driven.interrupt, SoftTimeLimitExceeded())

    def _waits(self) -> bool:
        """Whether the event loop runs and no code of the task does."""
        if self._loop is None or self._loop.is_closed():
            return False
        import asyncio

        return asyncio.current_task(self._loop) is None


class ThreadGuard:
    """For a task in a thread beside others, and for a coroutine on a loop there."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._thread = 0
        self._armed = False
        self._fired = False
        self._alarm: Alarm | None = None

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        self._armed = True
        self._alarm = self._clock.after(self._seconds, self._fire)
        return self

    def __exit__(self, *_: object) -> None:
        """What was raised from outside but has not arrived yet must not arrive in other code."""
        with self._lock:
            self._armed = False
            if self._fired:
                _raise_in(self._thread, None)
        if self._alarm is not None:
            self._alarm.cancel()

    async def interruptible(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await a coroutine that is interrupted where it waits; one that only computes is not."""
        import asyncio

        from longshore.worker.interruptible import Interruptible

        with self._lock:
            self._armed = False  # from here on the loop does it
        driven = Interruptible(coroutine)
        left = self._seconds if self._alarm is None else self._alarm.at - time.monotonic()
        handle = asyncio.get_running_loop().call_later(left, driven.interrupt, SoftTimeLimitExceeded())
        try:
            return await driven
        finally:
            handle.cancel()

    def _fire(self) -> None:
        with self._lock:
            if self._armed:
                self._armed, self._fired = False, True
                _raise_in(self._thread, SoftTimeLimitExceeded)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Let the interpreter raise an exception in another thread at its next instruction; `None` takes it back."""
    raised = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


class Alarm:
    """One entry of a clock."""

    __slots__ = ("at", "call")

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Do not ring; a call that runs already is not waited for."""
        self.call = None


class Clock:
    """Calls functions at their times, in one thread that starts with the first of them."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._tidy_at = _FEW

    def after(self, seconds: float, call: Callable[[], None]) -> Alarm:
        """Call a function, which must be quick, after `seconds`."""
        alarm = Alarm(time.monotonic() + seconds, call)
        with self._news:
            if len(self._alarms) >= self._tidy_at:
                self._tidy()
            heapq.heappush(self._alarms, (alarm.at, next(self._numbers), alarm))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="time limits", daemon=True)
                self._thread.start()
            if self._alarms[0][2] is alarm:
                self._news.notify()
        return alarm

    def _tidy(self) -> None:
        """Most tasks end long before their limit: what they left is thrown away."""
        self._alarms = [entry for entry in self._alarms if entry[2].call is not None]
        heapq.heapify(self._alarms)
        self._tidy_at = max(_FEW, 2 * len(self._alarms))

    def _run(self) -> None:
        while True:
            call = self._next().call
            if call is not None:
                call()

    def _next(self) -> Alarm:
        """Wait for the next alarm; cancelled ones are dropped when they are the first."""
        with self._news:
            while True:
                now = time.monotonic()
                if self._alarms and (self._alarms[0][2].call is None or self._alarms[0][0] <= now):
                    return heapq.heappop(self._alarms)[2]
                self._news.wait(self._alarms[0][0] - now if self._alarms else None)
