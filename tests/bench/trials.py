"""One trial of one system: empty the broker, send, start workers, watch the count, prove that nothing was left or lost.

A trial returns figures or raises `Invalid` with the reason; what a figure means for a target is decided in `rows`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.bench.environments import program
from tests.bench.servers import Servers
from tests.bench.systems import EARLY, Job, System
from tests.bench.workers import APPS, Board, Workers

POLL_SECONDS = 0.004
STALL_SECONDS = 20.0
WARM_SHARE = 0.2
"""The first part of a backlog only warms the workers up."""
FIRST_COUNT = 400
LATENCY_WARM_UP = 50
IDLE_SECONDS = 1.0
IO_TASKS = 2000
SLOW_TASKS = 120
SLOW_TASKS_ASYNC = 2000


class Invalid(Exception):
    """A trial that proves nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """How long trials last, and which variant of a broker they run on."""

    seconds: float = 2.0
    most_tasks: int = 200_000
    latency_samples: int = 500
    stop_seconds: float = 15.0
    """How long workers may take to end; then they are killed, and what they had not acknowledged shows."""
    queue_type: str = "classic"
    durability: str = "normal"
    results: bool = False
    confirm: bool = False
    payload: int = 0
    """Bytes of the argument of a task `weigh`."""
    variant: str = ""
    """Of the server, as `servers.VARIANTS` names it."""
    unconfirmed: bool = False
    """Sends are not confirmed, by choice."""


class Trial:
    """The place of one trial: an emptied broker, empty counts, the environment of its processes."""

    def __init__(self, system: System, job: Job, servers: Servers, folder: Path, options: Options) -> None:
        self.system = system
        self.servers = servers
        self.options = options
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.url = servers.fresh(job.broker, queue_type=options.queue_type, variant=options.variant, queues=job.queues)
        self.job = replace(job, url=self.url)
        self.board = Board(folder)
        self.environment = self._environment()

    def _environment(self) -> dict[str, str]:
        options, job = self.options, self.job
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(APPS),
            "PYTHONHASHSEED": "0",
            "BENCH_FOLDER": str(self.folder),
            "BENCH_BROKER": self.url,
            "BENCH_KIND": job.broker,
            "BENCH_RESULTS": self.servers.results() if options.results else "",
            "BENCH_EARLY": "1" if job.ack == EARLY else "",
            "BENCH_CONFIRM": "1" if options.confirm else "",
            "BENCH_UNCONFIRMED": "1" if options.unconfirmed else "",
            "BENCH_DURABILITY": options.durability,
            "BENCH_SLOTS": str(job.slots),
            "BENCH_PAYLOAD": str(options.payload),
            "BENCH_QUEUES": str(job.queues),
            **self.system.variables,
        }

    def drive(self, command: str, count: int = 0, kind: str = "noop") -> dict[str, Any]:
        """Run the driver in the system's environment, and return its answer."""
        return self.ask("driver.py", self.system.module, command, str(count), kind)

    def ask(self, script: str, *words: str) -> dict[str, Any]:
        """Run a script of `apps` in the system's environment, and return its answer."""
        line = [program(self.system.environment, "python"), str(APPS / script), *words]
        done = subprocess.run(line, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise Invalid(f"{' '.join(words)} failed: {done.stderr.strip()[:600]}")
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def workers(self) -> Workers:
        """Return the workers, to be started by `with`."""
        return Workers(
            self.system.commands(self.job),
            self.environment,
            self.folder,
            self.system.stop_signal,
            self.options.stop_seconds,
        )

    def await_count(
        self, workers: Workers, wanted: int, look: Callable[[], int] | None = None
    ) -> list[tuple[float, int]]:
        """Watch a count until it is reached; return what was seen, when. No progress for long is `Invalid`."""
        look = look or self.board.total
        seen = [(time.perf_counter(), look())]
        moved_at = seen[0][0]
        while seen[-1][1] < wanted:
            time.sleep(POLL_SECONDS)
            now, total = time.perf_counter(), look()
            if total > seen[-1][1]:
                moved_at = now
                seen.append((now, total))
            elif now - moved_at > STALL_SECONDS:
                raise Invalid(f"only {total} of {wanted} tasks ran: {workers.trouble() or workers.log_end()}")
        return seen

    def check_all_done(self, sent: int) -> None:
        """After the workers' end: each task ran exactly once, and the broker holds nothing of it any more."""
        if self.board.total() != sent:
            raise Invalid(f"{self.board.total()} runs of {sent} tasks")
        one_queue = self.job.broker == "rabbitmq" and self.job.queues == 1
        left = self.servers.rabbitmq_depth() if one_queue else self.drive("depth")["depth"]
        if left != 0:
            raise Invalid(f"{left} messages of {sent} were left in the broker")

    def check_results(self, sent: int) -> None:
        """Each task's result is stored."""
        stored = self.drive("stored")["stored"]
        if stored != sent:
            raise Invalid(f"{stored} results of {sent} tasks were stored")


def throughput(trial: Trial, guess: float | None) -> dict[str, Any]:
    """Tasks a second on a backlog, after a warm-up; `guess` is what an earlier trial found, and sizes this one."""
    options = trial.options
    wanted = FIRST_COUNT if guess is None else int(guess * options.seconds / (1 - WARM_SHARE))
    count = max(FIRST_COUNT, min(wanted, options.most_tasks))
    return backlog(trial, count)


def backlog(trial: Trial, count: int, kind: str = "noop") -> dict[str, Any]:
    """Tasks a second on a backlog of so many, the first ones left out."""
    trial.drive("fill", count, kind)
    with trial.workers() as workers:
        seen = trial.await_count(workers, count)
    trial.check_all_done(count)
    if trial.options.results:
        trial.check_results(count)
    return {"value": rate_of(seen, count), "tasks": count}


def rate_of(seen: list[tuple[float, int]], count: int) -> float:
    """Return the rate between the end of the warm-up and the last task."""
    warm_at, warm = next(look for look in seen if look[1] >= count * WARM_SHARE or look is seen[-1])
    last_at, last = seen[-1]
    if last_at == warm_at:
        raise Invalid("all tasks ran between two looks: too few for a rate")
    return (last - warm) / (last_at - warm_at)


def sending(trial: Trial, command: str, guess: float | None) -> dict[str, Any]:
    """Messages sent a second; the broker holds each of them afterwards."""
    options = trial.options
    count = 200 if guess is None else max(200, min(int(guess * options.seconds), options.most_tasks))
    answer = trial.drive(command, count)
    sent = answer["sent"]
    held = trial.servers.rabbitmq_depth(sent) if trial.job.broker == "rabbitmq" else trial.drive("depth")["depth"]
    if held != sent:
        raise Invalid(f"{held} messages of {sent} sent are in the broker")
    return {"value": answer["count"] / answer["seconds"], "tasks": answer["count"]}


def latency(trial: Trial) -> dict[str, Any]:
    """Milliseconds from just before a send to the first line of its task, on a worker that idles."""
    samples = trial.options.latency_samples
    with trial.workers() as workers:
        trial.drive("stamps", LATENCY_WARM_UP)
        trial.await_count(workers, LATENCY_WARM_UP, trial.board.noted)
        idle = idle_percent(workers)
        trial.drive("stamps", samples)
        trial.await_count(workers, LATENCY_WARM_UP + samples, trial.board.noted)
    notes = trial.board.notes()
    if len(notes) != LATENCY_WARM_UP + samples:
        raise Invalid(f"{len(notes)} runs of {LATENCY_WARM_UP + samples} tasks")
    waits = [(began - sent) * 1000 for sent, began in notes[LATENCY_WARM_UP:]]
    return {"value": statistics.median(waits), "p99": percentile(waits, 99), "idle_cpu": idle, "tasks": samples}


def idle_percent(workers: Workers) -> float:
    """Return what share of one processor idle workers use."""
    began, before = time.perf_counter(), workers.cpu_seconds()
    time.sleep(IDLE_SECONDS)  # the time that is measured
    return (workers.cpu_seconds() - before) / (time.perf_counter() - began) * 100


def percentile(values: list[float], percent: int) -> float:
    """Return a percentile, between the two nearest values."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def waiting(trial: Trial) -> dict[str, Any]:
    """Seconds for 2,000 tasks of 50 ms I/O, from the first one's begin to the last one's end."""
    trial.drive("fill", IO_TASKS, "io")
    with trial.workers() as workers:
        trial.await_count(workers, IO_TASKS)
    trial.check_all_done(IO_TASKS)
    notes = trial.board.notes()
    return {"value": max(end for _, end in notes) - min(begin for begin, _ in notes), "tasks": IO_TASKS}


def start_up(trial: Trial) -> dict[str, Any]:
    """Milliseconds from the command to the moment at which each of 2 processes has begun a task; and their memory."""
    count = SLOW_TASKS_ASYNC if trial.system.async_slots else SLOW_TASKS
    trial.drive("fill", count, "slow")
    with trial.workers() as workers:
        trial.await_count(workers, trial.job.processes, lambda: len({pid for pid, _ in trial.board.notes()}))
        first: dict[float, float] = {}
        for pid, at in trial.board.notes():
            first.setdefault(pid, at)
        trial.await_count(workers, count)
        memory = workers.pss_bytes()
        processes = len(workers.pids())
    trial.check_all_done(count)
    ready = (max(first.values()) - workers.started_at) * 1000
    return {"value": ready, "pss_mb": memory / 1e6, "processes": processes, "tasks": count}
