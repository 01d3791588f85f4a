"""A worker is frozen past its lease: others get its messages, and when it comes back it cannot settle what they have.

The proof is a death: the second holder is killed after the first one has ended the same task. Had the first one's
settlement counted, the task would be gone; it must run a third time.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.chaos.outcome import Outcome
from tests.chaos.stage import LOSS_SECONDS, Crew, Stage
from tests.chaos.verdicts import Death, judge_late

START_SECONDS = 3.0
KEPT_SECONDS = 3.0


def freeze(stage: Stage, cycles: int) -> Outcome:
    """Freeze all processes of one worker while another one is idle."""
    deaths: list[Death] = []
    promised = stage.app.broker.capabilities.takeover_seconds
    for cycle in range(cycles):
        gate = stage.folder / f"gate-{cycle}"
        gate.mkdir()
        first = stage.worker(processes=1)
        [number] = stage.send("gate", 1, str(gate))
        stage.journal.wait(lambda number=number: number in stage.journal.started, 30)
        second = stage.worker(processes=1)
        second.wait_for_children(1)
        if stage.kind == "sqlite":
            _is_kept(stage, first, number)
        else:
            deaths += _is_fenced(stage, first, second, number, gate)
        (gate / "all").touch()
        stage.all_ended([number])
        stage.finish(first)
        stage.finish(second)
    verdict = judge_late(stage.sent, stage.journal.marks, deaths)
    return Outcome.of(verdict, cycles, stage.findings).promising(promised + START_SECONDS)


def _is_kept(stage: Stage, first: Crew, number: int) -> None:
    """On one host nobody needs a lease: a frozen process lives, and keeps what it holds."""
    pids = [first.pid, *first.children()]
    first.freeze(pids)
    if stage.journal.wait(lambda: len(_starts(stage, number)) > 1, KEPT_SECONDS):
        stage.findings.append("the claim of a frozen, living process was given away")
    first.thaw(pids)


def _is_fenced(stage: Stage, first: Crew, second: Crew, number: int, gate: Path) -> list[Death]:
    pids = [first.pid, *first.children()]
    promised = stage.app.broker.capabilities.takeover_seconds
    [holder] = first.children()
    frozen_at = first.freeze(pids)
    taken = stage.journal.wait(lambda: len(_starts(stage, number)) == 2, LOSS_SECONDS)
    (gate / str(holder)).touch()
    first.thaw(pids)
    if not taken:
        stage.findings.append("the messages of a frozen worker were given to nobody")
        return []
    _settles_in_vain(stage, holder)
    at, dead, gone_at = second.kill_child(stage.rng)
    if not stage.journal.wait(lambda: len(_starts(stage, number)) == 3, LOSS_SECONDS):
        stage.findings.append(f"lost: a worker that came back settled task {number}, which another one was running")
    back_by = frozen_at + promised + START_SECONDS * stage.stretched()
    return [
        Death(frozen_at, frozenset([holder]), 1, back_by),
        Death(at, dead, 1, until=gone_at),
    ]


def _settles_in_vain(stage: Stage, holder: int) -> None:
    """The first holder ends the task, and runs another one: what it had to settle is settled by then, or refused."""
    stage.journal.wait(lambda: any(m.kind == "end" and m.pid == holder for m in stage.journal.marks), 30)
    [after] = stage.send("quick", 1)
    if not stage.all_ended([after], 30):
        stage.findings.append("a worker that was frozen works no more")
    time.sleep(0.2)  # on RabbitMQ a settlement that is refused is refused by the server, a moment later


def _starts(stage: Stage, number: int) -> list[int]:
    return [mark.pid for mark in stage.journal.marks if mark.kind == "start" and mark.number == number]
