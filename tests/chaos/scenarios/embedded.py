"""The embedded broker alone: senders and workers killed while many messages pass, and how soon claims are back."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from tests.chaos.outcome import Outcome
from tests.chaos.stage import PROCESSES, READ_AHEAD, Stage, poll
from tests.chaos.verdicts import Death, Sends, judge_late, judge_sends
from tests.support.workers import ROOT, SOURCES

LIVE_PEER_SECONDS = 0.1
RESTART_SECONDS = 1.0
PER_KILL = 2500
"""Messages that wait when a worker is killed, so that it always has its hands full."""


def kill_senders(stage: Stage, cycles: int) -> Outcome:
    """Senders die while they send; what they were told is in the queue is there, and runs."""
    confirmed: set[int] = set()
    for cycle in range(cycles):
        confirmed |= _killed_sender(stage, first=cycle * 10_000_000)
    crew = stage.worker()
    stage.all_ended(sorted(confirmed))
    stage.finish(crew)
    marks = stage.journal.marks
    ran = {mark.number for mark in marks}
    findings = judge_sends(Sends(frozenset(confirmed)), marks, 0.0)
    if len(ran - confirmed) > 100 * cycles:
        findings.append(f"{len(ran - confirmed)} messages ran that nobody was told of, at most a batch a sender can be")
    verdict = judge_late(sorted(confirmed | ran), marks, [])
    return Outcome.of(verdict, cycles, [*findings, *stage.findings], confirmed=len(confirmed))


def _killed_sender(stage: Stage, first: int) -> set[int]:
    told = stage.folder / f"told-{first}"
    words = [sys.executable, "-m", "tests.chaos.sender", stage.url, stage.queue, str(told), str(first)]
    process = subprocess.Popen(words, cwd=ROOT, env={"PYTHONPATH": SOURCES, "PATH": "/usr/bin:/bin"})
    try:
        goal = stage.rng.randint(1, 200)
        poll(lambda: told.exists() and _lines(told) >= goal, 30)
    finally:
        process.kill()
        process.wait()
    numbers: set[int] = set()
    for line in told.read_text().splitlines() if told.exists() else []:
        start, count = map(int, line.split())
        numbers.update(range(start, start + count))
    return numbers


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def kill_workers(stage: Stage, cycles: int) -> Outcome:
    """Workers die, all processes at once, in the middle of a large backlog; the next one goes on at once."""
    deaths: list[Death] = []
    stage.send("quick", PER_KILL * cycles)
    for _ in range(cycles):
        crew = stage.worker()
        done = len(stage.journal.ended)
        goal = done + stage.rng.randint(1, PER_KILL)
        stage.journal.wait(lambda goal=goal: len(stage.journal.ended) >= goal, 30)
        at, pids, gone_at = crew.kill_group()
        deaths.append(Death(at, pids, READ_AHEAD * PROCESSES, until=gone_at))
    crew = stage.worker()
    stage.all_ended(stage.sent)
    stage.finish(crew)
    verdict = judge_late(stage.sent, stage.journal.marks, deaths)
    # In a backlog, a busy worker's own give-backs look like redeliveries; how soon those are is `takeover`'s matter.
    return Outcome.of(replace(verdict, slowest=None), cycles, stage.findings)


def takeover(stage: Stage, cycles: int) -> Outcome:
    """A held task is back within 100 ms where another worker lives, else within 1 s of a new worker's start."""
    deaths: list[Death] = []
    with_peer, after_restart = 0.0, 0.0
    for cycle in range(cycles):
        gate = stage.folder / f"gate-{cycle}"
        gate.mkdir()
        holder = stage.worker(processes=1)
        [number] = stage.send("gate", 1, str(gate))
        stage.journal.wait(lambda number=number: number in stage.journal.started, 30)
        peer = stage.worker("-l", "info", processes=1) if cycle % 2 == 0 else None
        if peer is not None:
            poll(lambda peer=peer: " ready" in peer.worker.log and bool(peer.children()), 30)
            time.sleep(0.2)  # until its process waits
        at, pids, _ = holder.kill_group()
        deaths.append(Death(at, pids, 1))
        survivor = peer or stage.worker("-l", "info", processes=1)
        since = at if peer else survivor.started_at
        seconds = _again_after(stage, number, since)
        if peer:
            with_peer = max(with_peer, seconds)
        else:
            after_restart = max(after_restart, seconds)
        (gate / "all").touch()
        stage.all_ended([number])
        stage.finish(survivor)
    if with_peer > LIVE_PEER_SECONDS * stage.stretched():
        stage.findings.append(f"back after {with_peer:.3f} s with a live peer, not within {LIVE_PEER_SECONDS} s")
    if after_restart > RESTART_SECONDS * stage.stretched():
        stage.findings.append(f"back {after_restart:.3f} s after a restart, not within {RESTART_SECONDS} s")
    verdict = judge_late(stage.sent, stage.journal.marks, deaths)
    figures = {"with a live peer, s": round(with_peer, 3), "after a restart, s": round(after_restart, 3)}
    return Outcome.of(verdict, cycles, stage.findings, **figures)


def _again_after(stage: Stage, number: int, since: float) -> float:
    def starts() -> list[float]:
        return [mark.at for mark in stage.journal.marks if mark.kind == "start" and mark.number == number]

    stage.journal.wait(lambda: len(starts()) == 2, 30)
    return starts()[-1] - since
