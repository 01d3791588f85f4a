"""A late-acked task that runs three times longer than any lease runs once, though an idle worker waits for it."""

from __future__ import annotations

from tests.chaos.outcome import Outcome
from tests.chaos.stage import Stage
from tests.chaos.verdicts import judge_late

TIMES = 3.1


def outlast(stage: Stage, cycles: int) -> Outcome:
    """One task sleeps, one holds the interpreter's lock; the other worker has nothing to do but to take over."""
    seconds = TIMES * stage.lease
    gil_seconds = min(seconds, stage.gil_seconds)
    for _ in range(cycles):
        busy = stage.worker()
        numbers = [*stage.send("nap", 1, seconds), *stage.send("hold_gil", 1, gil_seconds)]
        stage.journal.wait(lambda numbers=numbers: stage.journal.started.issuperset(numbers), 30)
        idle = stage.worker()
        stage.all_ended(numbers, seconds + 30)
        stage.finish(busy)
        stage.finish(idle)
    verdict = judge_late(stage.sent, stage.journal.marks, [])
    figures = {"length of the tasks, s": round(seconds, 1), "of the one that holds the GIL, s": round(gil_seconds, 1)}
    return Outcome.of(verdict, cycles, stage.findings, **figures)
