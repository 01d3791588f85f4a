"""Group commit: what several callers hand in at the same moment travels to the broker together.

One thread of the process takes what waits, sends it in one piece and tells each caller, through its future, what became
of its own message. The thread starts with the first message and goes when nothing came for a moment; it is no daemon,
so that a process that ends sends first what it was given.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from longshore.brokers.port import Outgoing
from longshore.exceptions import BrokerUnavailable, SendOutcomeUnknown

AT_ONCE = 500
LINGER_SECONDS = 0.05
LEAST_SECONDS = 0.001

SendEach = Callable[[Sequence[Outgoing], float], Sequence[Exception | None]]
"""Sends messages within so many seconds; returns for each what went wrong with it."""


class Waiting(NamedTuple):
    """One message that waits to be sent."""

    outgoing: Outgoing
    future: Future[None]
    deadline: float


class Sender:
    """The sending thread of a broker in one process. `submit` may be called from any thread."""

    def __init__(self, send_each: SendEach) -> None:
        self._send_each = send_each
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[Waiting] = deque()
        self._thread: threading.Thread | None = None

    def submit(self, outgoing: Outgoing, seconds: float) -> Future[None]:
        """Have a message sent within so many seconds; a future that is cancelled before that is not sent."""
        if self._pid != os.getpid():
            self._begin()  # what waited in the parent is the parent's
        future: Future[None] = Future()
        with self._changed:
            self._waiting.append(Waiting(outgoing, future, time.monotonic() + seconds))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="longshore-sender")
                self._thread.start()
            elif len(self._waiting) == 1:
                self._changed.notify()
        return future

    def close(self) -> None:
        """Wait until what was handed in is sent."""
        thread = self._thread
        if thread is not None and self._pid == os.getpid() and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while batch := self._take():
            live = [each for each in batch if each.future.set_running_or_notify_cancel()]
            if live:
                self._send(live)

    def _take(self) -> list[Waiting]:
        """Return what waits; nothing, when nothing has come for a moment: the thread ends."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(LINGER_SECONDS)
            if not self._waiting:
                self._thread = None
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), AT_ONCE))]

    def _send(self, batch: list[Waiting]) -> None:
        left = max(min(each.deadline for each in batch) - time.monotonic(), LEAST_SECONDS)
        try:
            errors: Sequence[BaseException | None] = self._send_each([each.outgoing for each in batch], left)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the callers are who must know
            errors = [error] * len(batch)
        for each, problem in zip(batch, errors, strict=True):
            if problem is None:
                each.future.set_result(None)
            else:
                each.future.set_exception(problem)


def all_or_none(send: Callable[[Sequence[Outgoing], float], None]) -> SendEach:
    """Return a `SendEach` of a broker that sends a batch all or none.

    What is wrong with one message is found by sending each alone; a broker that is away is away for all of them.
    """

    def send_each(outgoing: Sequence[Outgoing], seconds: float) -> Sequence[Exception | None]:
        deadline = time.monotonic() + seconds
        try:
            send(outgoing, seconds)
        except (BrokerUnavailable, SendOutcomeUnknown) as error:
            return [error] * len(outgoing)
        except Exception as error:  # noqa: BLE001 - a header of a type that cannot be sent raises what it likes
            if len(outgoing) == 1:
                return [error]
            return [send_each([each], max(deadline - time.monotonic(), LEAST_SECONDS))[0] for each in outgoing]
        return [None] * len(outgoing)

    return send_each
