"""A pod that is a local process: started, restarted with back-off when it crashes, drained, and seen as a `PodView`.

Stands for the kubelet. Knows one pod; which pods there should be is `workloads`' business.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from longshore_operator.core.pods import PodView
from longshore_operator.local.process import LastWords, WorkerProcess

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 30.0
STEADY_SECONDS = 10.0
"""A process that ran this long had a good start: its crash is the first one again."""
USAGE_ERROR = 2
HOPELESS_STARTS = 3
KILL_GRACE_SECONDS = 30.0
"""How long after the drain time-out a worker that does not end is killed, as in a cluster."""

Start = Callable[["LocalPod"], WorkerProcess]


class CannotStart(Exception):
    """The pod's environment is not complete, or its program cannot be executed; the text says what to add."""


def crash_delay(crashes: int) -> float:
    """Return how long to wait before the restart after so many crashes in a row: none, 1, 2, 4 … 30 seconds."""
    if crashes <= 1:
        return 0.0
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(crashes - 2, 10))


@dataclass(eq=False)
class LocalPod:
    """One pod of one pool."""

    namespace: str
    pool: str
    name: str
    revision: str
    start: Start
    created_at: float
    drain_seconds: float
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    process: WorkerProcess | None = None
    restarts: int = 0
    crashes: int = 0
    """Ends in a row that nobody asked for and that came soon after the start."""
    false_starts: int = 0
    """Those of them before which it never took a task."""
    started_at: float | None = None
    ready_since: float | None = None
    restart_at: float | None = None
    drained_at: float | None = None
    deletion_cost: int = 0
    error: str | None = None
    exit_code: int | None = None
    gone: bool = False
    last_words: list[LastWords] = field(default_factory=list)
    """Of its workers that have ended in good order, until somebody takes them."""

    @property
    def key(self) -> str:
        """Its pool as ``namespace/name``."""
        return f"{self.namespace}/{self.pool}"

    @property
    def terminating(self) -> bool:
        """Whether it was told to end."""
        return self.drained_at is not None

    @property
    def hopeless(self) -> bool:
        """Whether another start would end the same way: a wrong usage, or starts that never came as far as ready."""
        if self.terminating or self.error is None:
            return False
        return self.exit_code == USAGE_ERROR or self.false_starts >= HOPELESS_STARTS

    def step(self, now: float) -> bool:
        """Start, restart, reap or kill what is due; return whether anything changed."""
        if self.gone:
            return False
        if self.process is not None:
            return self._reap(self.process, now) or self._overdue(self.process, now)
        if self.terminating:
            self.gone = True
            return True
        return self._start_when_due(now)

    def drain(self, now: float) -> None:
        """Tell it to finish what runs and end."""
        if not self.terminating:
            self.drained_at = now
            if self.process is not None:
                self.process.drain()

    def kill(self) -> None:
        """End it at once; what it held goes back to the queue."""
        if self.process is not None:
            self.process.kill()

    def see_ready(self, now: float) -> None:
        """Note that its worker reports: it takes tasks."""
        if self.process is not None and self.ready_since is None:
            self.ready_since, self.error, self.exit_code = now, None, None

    def view(self) -> PodView:
        """Return what decisions see of it."""
        waits = self.error is not None and self.process is None
        return PodView(
            namespace=self.namespace,
            name=self.name,
            uid=self.uid,
            owner=self.revision,
            node="localhost",
            phase="Running" if self.process is not None else "Pending",
            ready=self.ready_since is not None and self.process is not None,
            ready_since=self.ready_since,
            created_at=self.created_at,
            deletion_cost=self.deletion_cost,
            terminating=self.terminating,
            restarts=self.restarts,
            waiting_reason=("CrashLoopBackOff" if self.crashes else "CreateContainerConfigError") if waits else None,
            waiting_message=self.error if waits else None,
            terminated_reason="Error" if self.exit_code else None,
        )

    def _start_when_due(self, now: float) -> bool:
        if self.restart_at is not None and now < self.restart_at:
            return False
        try:
            self.process = self.start(self)
        except CannotStart as error:
            self.error, self.restart_at = str(error), now + LONGEST_DELAY_SECONDS
            self.exit_code = USAGE_ERROR
            return True
        self.started_at, self.restart_at = now, None
        return True

    def _reap(self, process: WorkerProcess, now: float) -> bool:
        code = process.poll()
        if code is None:
            return False
        words = process.last_words()
        self.last_words += [words] if words is not None else []
        self.process, self.gone = None, self.terminating
        if not self.terminating:
            self._crashed(process, code, now)
        self.ready_since = None
        return True

    def _crashed(self, process: WorkerProcess, code: int, now: float) -> None:
        was_ready = self.ready_since is not None
        steady = was_ready and now - (self.started_at or now) >= STEADY_SECONDS
        self.crashes = 1 if steady else self.crashes + 1
        self.false_starts = 0 if was_ready else self.false_starts + 1
        self.restarts += 1
        self.exit_code = code
        self.error = _ending(code) if code < 0 else process.last_line() or _ending(code)
        self.restart_at = now + (LONGEST_DELAY_SECONDS if code == USAGE_ERROR else crash_delay(self.crashes))

    def _overdue(self, process: WorkerProcess, now: float) -> bool:
        if self.drained_at is None or now < self.drained_at + self.drain_seconds + KILL_GRACE_SECONDS:
            return False
        process.kill()
        return True


def _ending(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
