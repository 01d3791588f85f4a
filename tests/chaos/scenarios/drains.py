"""SIGTERM under load, in each mode of execution: what did not start is back at once, what runs ends or goes back.

Nothing is lost, and nothing runs twice but what was still running at the drain time-out.
"""

from __future__ import annotations

import time

from tests.chaos.journal import END, START
from tests.chaos.outcome import Outcome
from tests.chaos.stage import Crew, Stage
from tests.chaos.verdicts import Death, judge_late

MODES = ("processes", "threads", "asyncio")
SLOTS = {"processes": 2, "threads": 4, "asyncio": 4}
BURST = 300
STUBBORN_EVERY = 4
"""In every so many cycles a task runs longer than the drain time-out."""
DRAIN_SECONDS = 0.5
STUBBORN_SECONDS = 2.0
EXIT_SECONDS = 2.0
"""How much longer than its drain time-out a worker may take to end, on a busy machine."""


def drain(stage: Stage, cycles: int) -> Outcome:
    """Each cycle: load, SIGTERM at a random point, count what is left; the next worker works it off."""
    deaths: list[Death] = []
    slowest = 0.0
    for cycle in range(cycles):
        mode = MODES[cycle % len(MODES)]
        stubborn = cycle % STUBBORN_EVERY == STUBBORN_EVERY - 1
        crew = stage.worker(
            "--execution", mode, "--drain-timeout", f"{DRAIN_SECONDS}", *_patience(stage), processes=SLOTS[mode]
        )
        numbers = _load(stage, mode, stubborn)
        _reach(stage, numbers)
        pids = frozenset(crew.children())
        began, code = time.monotonic(), crew.drain()
        seconds, at = time.monotonic() - began, time.time()
        slowest = max(slowest, seconds)
        _left_in_good_order(stage, crew, seconds, code)
        killed = _running_at_the_end(stage, pids)
        deaths.append(Death(at, pids, killed))
    crew = stage.worker(*_patience(stage))
    stage.all_ended(stage.sent)
    stage.finish(crew)
    verdict = judge_late(stage.sent, stage.journal.marks, deaths)
    return Outcome.of(verdict, cycles, stage.findings, **{"slowest exit after SIGTERM, s": round(slowest, 2)})


def _patience(stage: Stage) -> tuple[str, str]:
    """Let a task be cut off by many drains: by default its fifth started execution would be its last."""
    return "--dead-letter", f"{stage.queue}={stage.dead}:1000"


def _load(stage: Stage, mode: str, stubborn: bool) -> range:
    """Short tasks, and among them some of 20 ms, so that the signal meets running ones."""
    suffix = "_async" if mode == "asyncio" else ""
    first = stage.send("quick" + suffix, BURST // 2)
    stage.send("nap" + suffix, 4, 0.02)
    if stubborn:
        stage.send("nap" + suffix, 1, STUBBORN_SECONDS)
    return range(first.start, stage.send("quick" + suffix, BURST // 2).stop)


def _reach(stage: Stage, numbers: range) -> None:
    goal = stage.rng.randint(1, int(len(numbers) * 0.8))
    stage.journal.wait(lambda: len(stage.journal.started.intersection(numbers)) >= goal, 30)


def _left_in_good_order(stage: Stage, crew: Crew, seconds: float, code: int) -> None:
    """At once after the end: what did not end is ready, nothing is held by anybody."""
    stage.journal.poll()
    depth = stage.depth()
    left = len(stage.sent) - len(stage.journal.ended)
    if seconds > DRAIN_SECONDS + EXIT_SECONDS * stage.stretched():
        stage.findings.append(f"a worker ended {seconds:.2f} s after SIGTERM, its drain time-out is {DRAIN_SECONDS} s")
    if code != 0:
        stage.findings.append(f"a drained worker ended with code {code}")
    if depth.ready != left or depth.leased:
        stage.findings.append(f"after a drain {left} tasks have not ended, and the queue has {depth}")


def _running_at_the_end(stage: Stage, pids: frozenset[int]) -> int:
    """How many runs of these processes were cut off by the drain time-out: started and not ended."""
    mine = [mark for mark in stage.journal.marks if mark.pid in pids]
    return sum(mark.kind == START for mark in mine) - sum(mark.kind == END for mark in mine)
