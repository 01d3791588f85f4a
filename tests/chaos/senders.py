"""Clients that send one by one, as fast as a pace allows, and note what they were told of each send."""

from __future__ import annotations

import threading
import time
from typing import Self

from longshore import Longshore
from longshore.exceptions import BrokerFull, BrokerUnavailable, LongshoreError, QueueNotFound, SendOutcomeUnknown
from tests.chaos.stage import Stage
from tests.chaos.tasks import PREFIX
from tests.chaos.verdicts import Sends

PACE_SECONDS = 0.004


class Senders:
    """Threads that share one client and send until the block ends. `confirmed` grows meanwhile."""

    def __init__(self, stage: Stage, url: str, threads: int = 3) -> None:
        self._stage = stage
        self._app = Longshore("chaos-sender", broker=url)
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        self._lock = threading.Lock()
        self.confirmed: dict[int, float] = {}
        """Number, and when its send began."""
        self.unknown: set[int] = set()
        self.refused: dict[int, str] = {}
        """Number, and what the error said."""
        self.seconds: list[float] = []
        self.surprises: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30)
            if thread.is_alive():
                self.surprises.append("a send hangs")
        self._app.close()

    def sends(self) -> Sends:
        """Return what became of all sends; the threads have ended."""
        return Sends(frozenset(self.confirmed), frozenset(self.unknown), frozenset(self.refused), tuple(self.seconds))

    def _run(self) -> None:
        while not self._end.wait(PACE_SECONDS):
            with self._lock:
                number = self._stage.next_number()
            began, at = time.monotonic(), time.time()
            try:
                self._app.send_task(PREFIX + "quick", (number,), queue=self._stage.queue)
                self.confirmed[number] = at
            except SendOutcomeUnknown:
                self.unknown.add(number)
            except (BrokerUnavailable, BrokerFull, QueueNotFound) as error:
                self.refused[number] = f"{type(error).__name__}: {error}"
            except LongshoreError as error:
                self.surprises.append(f"a send raised {type(error).__name__}: {error}")
            self.seconds.append(time.monotonic() - began)
