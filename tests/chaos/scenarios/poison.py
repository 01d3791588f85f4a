"""One task that kills its process each time, among a thousand innocents: it alone becomes a dead letter."""

from __future__ import annotations

from tests.chaos.outcome import Outcome
from tests.chaos.stage import LOSS_SECONDS, READ_AHEAD, Stage, poll
from tests.chaos.verdicts import Death, judge_late, judge_poison

INNOCENTS = 1000
STARTS = 5
"""What `longshore worker` allows by default."""


def poison(stage: Stage, cycles: int) -> Outcome:
    """Drain the queue with its poison, anew each cycle."""
    findings: list[str] = []
    deaths: list[Death] = []
    poisons: set[int] = set()
    crew = stage.worker()
    for _ in range(cycles):
        before = stage.send("quick", stage.rng.randint(1, INNOCENTS - 1))
        [bad] = stage.send("poison")
        after = stage.send("quick", INNOCENTS - len(before))
        poisons.add(bad)
        findings += _drained(stage, bad, [*before, *after])
    deaths = [
        Death(mark.at, frozenset([mark.pid]), READ_AHEAD) for mark in stage.journal.marks if mark.number in poisons
    ]
    stage.finish(crew)
    innocent = [mark for mark in stage.journal.marks if mark.number not in poisons]
    verdict = judge_late(sorted(set(stage.sent) - poisons), innocent, deaths)
    return Outcome.of(verdict, cycles, [*findings, *stage.findings])


def _drained(stage: Stage, bad: int, innocents: list[int]) -> list[str]:
    poll(lambda: bool(stage.dead_letters()), LOSS_SECONDS)
    stage.all_ended(innocents)
    stage.settled()
    stage.journal.poll()
    uncounted = 0 if stage.app.broker.capabilities.atomic_settle else 1  # the first start, where a sibling is faster
    findings = judge_poison(bad, innocents, stage.journal.marks, stage.dead_letters(), STARTS, uncounted)
    stage.app.broker.purge(stage.dead)
    return findings
