"""The end of a process because of its tasks: a hard time limit, a termination, or its own death.

The supervisor's side. A process is first stopped (SIGSTOP), so that what the board says of it stays true; then it is
decided, said to the broker where claims go back by themselves, and killed. When the supervisor dies in between, its
children die with it and the task runs again: a duplicate, never a loss.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

from longshore.brokers.port import Started
from longshore.core.sentences import Sentence, Terminated, TimeLimitReached, WorkerLost, dump_sentence
from longshore.worker.aftermath import Aftermath
from longshore.worker.board import Board, Slot
from longshore.worker.keeper import Keeper
from longshore.worker.revocations import Revocations
from longshore.worker.roster import Child, Condemned
from longshore.worker.signals import WakePipe

logger = logging.getLogger("longshore.worker")

STOP_SECONDS = 0.2
"""How long a process may take to stand still; one in an uninterruptible system call does not."""
NOTE_SECONDS = 1.0
"""How long the broker may take to hear of it before the process is killed anyway."""
INTERRUPT_SECONDS = 1.0
"""How long a coroutine may take to end after it was cancelled."""
REQUEST_SECONDS = 2.0
"""How long a task that is to be terminated is looked for: it may be about to start."""


@dataclass(slots=True)
class _Stop:
    """A task that somebody wants to end."""

    signal: str
    forget_at: float
    kill_at: float | None = None


class Enforcement:
    """Decides and carries out, in the supervisor's main thread. `interruptible` says that runs can be cancelled."""

    def __init__(
        self,
        board: Board,
        keeper: Keeper,
        wake: WakePipe,
        revocations: Revocations,
        aftermath: Aftermath,
        *,
        returns_claims: bool,
        interruptible: bool,
    ) -> None:
        self._board = board
        self._keeper = keeper
        self._wake = wake
        self._revocations = revocations
        self._aftermath = aftermath
        self._returns_claims = returns_claims
        self._interruptible = interruptible
        self._stops: dict[str, _Stop] = {}

    def look(self, children: Iterable[Child]) -> float:
        """Do what is due; return in how many seconds something may be due again."""
        now = time.monotonic()
        for task_id, signal_name in self._revocations.take_stops():
            self._stops[task_id] = _Stop(signal_name, now + REQUEST_SECONDS)
        for child in children:
            if child.pid and child.condemned is not None:
                self._carry_out(child, child.condemned)
            elif child.pid and self._doomed(child, now):
                self._condemn(child)
        for task_id in [task_id for task_id, stop in self._stops.items() if stop.forget_at <= now]:
            del self._stops[task_id]
        return self._patience(children, now)

    def _patience(self, children: Iterable[Child], now: float) -> float:
        if self._stops or any(child.condemned for child in children):
            return 0.05
        slots = [self._board.read(row) for child in children if child.pid for row in child.rows]
        return min((slot.deadline - now for slot in slots if slot.deadline), default=1.0)

    # -- deciding ----------------------------------------------------------------------------------------------------

    def _doomed(self, child: Child, now: float) -> dict[int, Sentence]:
        """Return the sentences that are due for what a process runs, by row."""
        found = {}
        for row in child.rows:
            slot = self._board.read(row)
            if slot.busy and (sentence := self._sentence(child, slot, now)) is not None:
                found[row] = sentence
        return found

    def _sentence(self, child: Child, slot: Slot, now: float) -> Sentence | None:
        if slot.deadline and now >= slot.deadline:
            return TimeLimitReached(slot.limit)
        stop = self._stops.get(slot.task_id or "")
        if stop is None:
            return None
        if stop.kill_at is None:
            stop.kill_at = now + INTERRUPT_SECONDS if self._interruptible else now
            stop.forget_at = stop.kill_at + REQUEST_SECONDS
            if self._interruptible:
                self._revocations.stop(slot.task_id or "")
                os.kill(child.pid, signal.SIGUSR1)
        return Terminated(stop.signal) if now >= stop.kill_at else None

    def _condemn(self, child: Child) -> None:
        """Let it stand still, look again, decide: a task that has ended meanwhile has ended."""
        if not _stand_still(child.pid):
            return
        sentences = self._doomed(child, time.monotonic())
        if not sentences:
            os.kill(child.pid, signal.SIGCONT)
            return
        condemned = child.condemned = Condemned(sentences, time.monotonic() + NOTE_SECONDS)
        started = self._started(condemned)
        if self._returns_claims and started:
            self._keeper.orphan(child.owner, started, then=lambda: self._noted(condemned))
        else:
            condemned.noted = True
        self._carry_out(child, condemned)

    def _noted(self, condemned: Condemned) -> None:
        condemned.noted = True
        self._wake.ring()

    def _carry_out(self, child: Child, condemned: Condemned) -> None:
        if condemned.noted or time.monotonic() >= condemned.kill_at:
            os.kill(child.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own

    def _started(self, condemned: Condemned) -> list[Started]:
        slots = [(self._board.read(row), sentence) for row, sentence in condemned.sentences.items()]
        return [
            Started(slot.task_id, sentence=dump_sentence(sentence))
            for slot, sentence in slots
            if slot.task_id and not slot.early
        ]

    # -- afterwards --------------------------------------------------------------------------------------------------

    def buried(self, child: Child, condemned: Condemned) -> None:
        """A condemned process is dead: give back what it held; its neighbours' claims are not counted."""
        names = {row: self._board.read(row).task_id for row in condemned.sentences}
        reasons = ", ".join(f"{names[row]} ({_words(sentence)})" for row, sentence in condemned.sentences.items())
        logger.warning("process %d was ended because of %s; its other claims go back", child.pid, reasons)
        if not self._returns_claims:
            self._keeper.orphan(child.owner, self._started(condemned))
        for row in child.rows:
            self._tell_of_early(row, condemned.sentences.get(row) or WorkerLost(f"its process was ended: {reasons}"))
        for task_id in names.values():
            self._stops.pop(task_id or "", None)

    def lost(self, child: Child, how: str, *, by_us: bool) -> None:
        """A process died by itself, or `by_us` because its time to drain was over."""
        started = []
        sentence = WorkerLost(f"the process that ran it died by {how}")
        for row in child.rows:
            slot = self._board.read(row)
            if slot.task_id and not slot.early:
                final = slot.final_loss and not by_us
                said = dump_sentence(sentence) if final else None
                started.append(Started(slot.task_id, counted=not slot.counted, sentence=said))
            self._tell_of_early(row, sentence)
        doing = f"running {', '.join(each.task_id for each in started)}" if started else "idle"
        logger.warning("process %d died by %s while %s; its claims go back", child.pid, how, doing)
        self._keeper.orphan(child.owner, started)

    def _tell_of_early(self, row: int, sentence: Sentence) -> None:
        """Nobody gets the message of an early-acknowledged task again: its end is told from here."""
        slot = self._board.read(row)
        if slot.busy and slot.early and slot.task_id:
            task_id, copy = slot.task_id, self._board.copy(row)
            self._keeper.errand(lambda: self._aftermath.tell(task_id, sentence, copy))


def _words(sentence: Sentence) -> str:
    match sentence:
        case TimeLimitReached(seconds):
            return f"its hard time limit of {seconds:g} s is over"
        case Terminated(name):
            return f"terminated, {name}"
        case WorkerLost(text):
            return text


def _stand_still(pid: int) -> bool:
    """Stop a process; return whether it is still there. One that does not stop in time is taken as it is."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        state = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if state is not None:
            return bool(state.si_code == os.CLD_STOPPED)
        time.sleep(0.001)
    return True
