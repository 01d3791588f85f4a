"""Messages with an ETA: no worker keeps them in memory; each runs once, on time, or when a worker is there again."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.outcome import Outcome
from tests.chaos.stage import PROCESSES, READ_AHEAD, Crew, Stage, poll
from tests.chaos.verdicts import Death, judge_due, judge_late

WITHIN_SECONDS = 1.0
GROWTH_MB = 10.0
RATE = {"sqlite": 1000, "redis": 1000, "rabbitmq": 250, "quorum": 250}
"""How many are due in a second: on RabbitMQ each passes a queue for every digit of its delay."""
BATCH = 100
SEND_RATE = 2500
"""How many are sent in a second at least, on a busy machine."""
LEAD_SECONDS = 2.0
AFTER_DEATH = 500
WARM_UP = 2000


def delayed(stage: Stage, messages: int) -> Outcome:
    """Send ahead, watch the worker while they wait and while they run; then some that are due while no worker lives."""
    crew = stage.worker()
    stage.all_ended(stage.send("quick", WARM_UP))
    first_send = _seconds(lambda: stage.send("quick", 1, countdown=0.1))  # RabbitMQ makes its ladder of queues now
    due: dict[int, float] = {}
    idle = _megabytes(crew)
    send_seconds = messages / SEND_RATE + LEAD_SECONDS
    first = time.time() + send_seconds
    _send_due(stage, due, messages, first, messages / RATE[stage.kind])
    if time.time() > first:
        stage.findings.append(f"sending {messages} took longer than {send_seconds:.0f} s: some were due before")
    peak = _megabytes(crew)
    last = max(due.values()) + 30
    while not stage.all_ended(list(due), 1.0) and time.time() < last:
        peak = max(peak, _megabytes(crew))
    while_dead = _send_due(stage, due, AFTER_DEATH, time.time() + 2.0, 0.5)
    at, pids, _ = crew.kill_group()
    poll(lambda: time.time() > max(due[number] for number in while_dead), 30)
    began = time.time()
    crew = stage.worker("-l", "info")
    poll(lambda: " ready" in crew.worker.log, 30)
    ready = time.time()
    stage.all_ended(list(due))
    stage.finish(crew)
    findings, latest = judge_due(due, stage.journal.marks, WITHIN_SECONDS * stage.stretched(), [(at, ready)])
    if peak - idle > GROWTH_MB:
        findings.append(f"the worker grew by {peak - idle:.1f} MB")
    verdict = judge_late(stage.sent, stage.journal.marks, [Death(at, pids, READ_AHEAD * PROCESSES)])
    figures = {
        "due in a second": RATE[stage.kind],
        "first delayed send, s": round(first_send, 2),
        "latest, s": round(latest, 2),
        "growth of the worker, MB": round(peak - idle, 1),
        "restart to ready, s": round(ready - began, 2),
    }
    return Outcome.of(verdict, 1, [*findings, *stage.findings], **figures)


def _seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def _send_due(stage: Stage, due: dict[int, float], messages: int, first: float, spread: float) -> list[int]:
    """Send in batches, each due at a time of its own within the spread."""
    sent: list[int] = []
    for _ in range(0, messages, BATCH):
        at = round(first + stage.rng.uniform(0.0, spread), 3)
        numbers = stage.send("quick", BATCH, eta=datetime.fromtimestamp(at, UTC))
        due.update(dict.fromkeys(numbers, at))
        sent += numbers
    return sent


def _megabytes(crew: Crew) -> float:
    """What the worker's processes use, shared pages counted by their share."""
    return sum(_pss(pid) for pid in (crew.pid, *crew.children())) / 1024


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
