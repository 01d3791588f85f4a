"""Results that coroutines await: one thread of the process looks for all of them, in one question at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from longshore.exceptions import LongshoreError
from longshore.results.port import ResultBackend, ResultMeta
from longshore.results.waiting import ended_of

_FIRST_LOOK, _LAST_LOOK, _RARER = 0.005, 0.1, 1.3

_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[ResultMeta]"]


class Awaiter:
    """Futures of results. Its thread ends when nobody waits any more."""

    def __init__(self, backend: Callable[[], ResultBackend]) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._waiters: dict[str, list[_Waiter]] = {}
        self._thread: threading.Thread | None = None

    def end_of(self, task_id: str) -> asyncio.Future[ResultMeta]:
        """Return a future of a task's end, for the loop that runs here."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultMeta] = loop.create_future()
        with self._lock:
            self._waiters.setdefault(task_id, []).append((loop, future))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="results", daemon=True)
                self._thread.start()
        self._news.set()
        return future

    def _run(self) -> None:
        pause = _FIRST_LOOK
        while pending := self._pending():
            if self._look(pending):
                pause = _FIRST_LOOK
            if self._news.wait(pause):
                pause = _FIRST_LOOK
            self._news.clear()
            pause = min(pause * _RARER, _LAST_LOOK)

    def _pending(self) -> list[str]:
        """Return what is waited for; whoever gave up is left out. With nothing left, the thread's end is noted."""
        with self._lock:
            kept = {
                task_id: [waiter for waiter in waiters if not waiter[1].done()]
                for task_id, waiters in self._waiters.items()
            }
            self._waiters = {task_id: waiters for task_id, waiters in kept.items() if waiters}
            if not self._waiters:
                self._thread = None
            return list(self._waiters)

    def _look(self, pending: list[str]) -> bool:
        try:
            ended = ended_of(self._backend(), pending)
        except LongshoreError as error:
            for task_id in pending:
                self._tell(task_id, error)
            return False
        for task_id, meta in ended.items():
            self._tell(task_id, meta)
        return bool(ended)

    def _tell(self, task_id: str, answer: ResultMeta | LongshoreError) -> None:
        with self._lock:
            waiters = self._waiters.pop(task_id, [])
        for loop, future in waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, future, answer)


def _settle(future: asyncio.Future[ResultMeta], answer: ResultMeta | LongshoreError) -> None:
    if future.done():
        return
    if isinstance(answer, ResultMeta):
        future.set_result(answer)
    else:
        future.set_exception(answer)
