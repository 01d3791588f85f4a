"""SIGKILL at a random point of a burst of short tasks, claimed a hundred ahead: a child, the supervisor, all at once.

A cycle ends when its burst has run and the queue is empty, so that each redelivery belongs to one death.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.outcome import Outcome
from tests.chaos.stage import PROCESSES, READ_AHEAD, Crew, Stage, Strike
from tests.chaos.tasks import RETRIED
from tests.chaos.verdicts import Death, Verdict, judge_early, judge_late, without_copies

BURST = 1000
SLOTS = 8
CHORDS, PARTS = 60, 5
CHORD_SECONDS = 90.0
"""A body whose dispatcher died is dispatched by a message that looks a minute later."""
VICTIMS = ("child", "supervisor", "group")
ACKNOWLEDGED_AHEAD = 16
"""How many a process may acknowledge in one round trip before it starts the first of them."""
CHILD_SECONDS = 1.0
START_SECONDS = 3.0
"""From a new worker's first process to its first claim, on a busy machine."""
CHILDREN_GONE_SECONDS = 1.0


MOST_TRIES = 4
"""A kill that comes when a burst is over tries nothing: there are more, up to so many times what was asked."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the tasks are acknowledged and executed, and which task it is; `held` is what a process holds at most."""

    ack: str = "late"
    execution: str = "processes"
    task: str = "quick"
    processes: int = PROCESSES
    """Or threads, or coroutines, in the one process of the other modes."""
    held: int = READ_AHEAD


def kill_late(stage: Stage, cycles: int) -> Outcome:
    """Late acknowledgment: nothing lost, at most the read-ahead of the dead again, back in time."""
    return _kill(stage, cycles, Way())


def kill_early(stage: Stage, cycles: int) -> Outcome:
    """Early acknowledgment: no task starts twice."""
    return _kill(stage, cycles, Way(ack="early", held=ACKNOWLEDGED_AHEAD))


def kill_threads(stage: Stage, cycles: int) -> Outcome:
    """Late acknowledgment, the tasks in threads of one process."""
    return _kill(stage, cycles, Way(execution="threads", processes=SLOTS, held=SLOTS))


def kill_asyncio(stage: Stage, cycles: int) -> Outcome:
    """Late acknowledgment, the tasks on one event loop."""
    return _kill(stage, cycles, Way(execution="asyncio", task="quick_async", processes=SLOTS, held=SLOTS))


def kill_retries(stage: Stage, cycles: int) -> Outcome:
    """Late acknowledgment, each task is retried once: neither the run nor its retry may be lost."""
    return _kill(stage, cycles, Way(task="again"))


def kill_chords(stage: Stage, cycles: int) -> Outcome:
    """Late acknowledgment, the tasks are parts of chords: each body runs, and again only where its process died."""
    return _kill(stage, cycles, Way(task="chord"))


def _kill(stage: Stage, cycles: int, way: Way) -> Outcome:
    deaths: list[Death] = []
    slowest_end, in_the_middle = 0.0, 0
    crew = _crew(stage, way)
    for cycle in itertools.count():
        if cycle >= cycles and (in_the_middle * 2 >= cycles or cycle >= MOST_TRIES * cycles):
            break
        victim = VICTIMS[(cycle + stage.lane) % len(VICTIMS)]
        numbers = _backlog(stage, crew, way)
        _reach(stage, numbers)
        at, pids, gone_at = struck = _strike(stage, crew, victim)
        stage.journal.poll()
        in_the_middle += not stage.journal.ended.issuperset(numbers)
        if victim == "supervisor":
            slowest_end = max(slowest_end, _children_follow(stage, struck))
        if victim != "child":
            crew = _crew(stage, way)
            crew.wait_for_children(1)  # "at once" begins when somebody is there to claim
        away = CHILD_SECONDS if victim == "child" else stage.takeover
        back_by = max(at + away, time.time()) + START_SECONDS * stage.stretched()
        deaths.append(Death(at, pids, way.held * len(pids), back_by, gone_at, in_a_row=stage.stretched()))
        _burst_is_over(stage, numbers, way)
    if way.task == "chord":
        stage.all_ended(stage.sent, CHORD_SECONDS)
        stage.settled(CHORD_SECONDS)
    stage.finish(crew)
    if in_the_middle * 2 < cycles:
        stage.findings.append(f"only {in_the_middle} of {cycles} kills came in the middle of a burst")
    verdict = _judge(stage, way, deaths)
    figures = {"slowest end of orphaned children, s": round(slowest_end, 3)}
    return Outcome.of(verdict, cycles, stage.findings, **figures).promising(stage.takeover + START_SECONDS)


def _crew(stage: Stage, way: Way) -> Crew:
    results = ("--result-backend", stage.results) if way.task == "chord" else ()
    return stage.worker("--execution", way.execution, *results, ack=way.ack, processes=way.processes)


def _judge(stage: Stage, way: Way, deaths: Sequence[Death]) -> Verdict:
    marks = stage.journal.marks
    if way.task != "again":
        return (judge_late if way.ack == "late" else judge_early)(stage.sent, marks, deaths)
    sent = [*stage.sent, *(number + RETRIED for number in stage.sent)]
    if not stage.app.broker.capabilities.atomic_settle:
        marks = without_copies(marks, RETRIED)
    return judge_late(sent, marks, deaths)


def _backlog(stage: Stage, crew: Crew, way: Way) -> range:
    """Send a burst that the worker finds all at once: it stands still meanwhile, shorter than any lease.

    Not on SQLite, where whoever stands still may do so in the middle of a transaction that the sender waits for.
    """
    if stage.kind == "sqlite":
        return _send(stage, way)
    pids = [crew.pid, *crew.children()]
    crew.freeze(pids)
    try:
        return _send(stage, way)
    finally:
        crew.thaw(pids)


def _send(stage: Stage, way: Way) -> range:
    return stage.send_chords(CHORDS, PARTS) if way.task == "chord" else stage.send(way.task, BURST)


def _reach(stage: Stage, numbers: range) -> None:
    """Wait until a random part of the burst has started."""
    goal = stage.rng.randint(1, int(len(numbers) * 0.7))
    stage.journal.wait(lambda: len(stage.journal.started.intersection(numbers)) >= goal, 30)


def _strike(stage: Stage, crew: Crew, victim: str) -> Strike:
    if victim == "child":
        return crew.kill_child(stage.rng)
    return crew.kill_supervisor() if victim == "supervisor" else crew.kill_group()


def _children_follow(stage: Stage, struck: Strike) -> float:
    seconds = struck.gone_at - struck.at
    if seconds > CHILDREN_GONE_SECONDS * stage.stretched():
        stage.findings.append(f"children outlived their supervisor by {seconds:.1f} s")
    return seconds


def _burst_is_over(stage: Stage, numbers: range, way: Way) -> None:
    """With early acknowledgment what was acknowledged and did not start is gone; an empty queue has to do."""
    if way.ack == "late":
        retries = [number + RETRIED for number in numbers] if way.task == "again" else []
        stage.all_ended([*numbers, *retries])
    if way.task != "chord":
        stage.settled()


def orphans(stage: Stage, cycles: int) -> Outcome:
    """The supervisor is killed while its children sleep, hold the interpreter's lock, or idle: they are gone in 1 s."""
    slowest = 0.0
    tasks = ("nap", "hold_gil", None)
    for cycle in range(cycles):
        crew = stage.worker("--ack-policy", "early", processes=4)
        task = tasks[cycle % len(tasks)]
        if task is None:
            crew.wait_for_children(4)
        else:
            numbers = stage.send(task, 4, 60.0)
            stage.journal.wait(lambda numbers=numbers: stage.journal.started.issuperset(numbers), 30)
        slowest = max(slowest, _children_follow(stage, crew.kill_supervisor()))
        crew.end()
    figures = {"slowest end of orphaned children, s": round(slowest, 3)}
    return Outcome(cycles, len(stage.sent), 0, 0, findings=tuple(stage.findings), figures=figures)
