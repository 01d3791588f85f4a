"""What is measured, and how each system is started for the job: its own command, its best documented settings, stated.

Facts about systems and nothing else; how a trial goes is in `trials`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.bench.apps.settings import queue_names
from tests.bench.environments import program
from tests.bench.servers import QUEUE

LATE, EARLY = "late", "early"


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is started for."""

    broker: str
    """redis, rabbitmq or sqlite."""
    processes: int = 1
    ack: str = LATE
    slots: int = 0
    """Tasks side by side in one process, for work that waits; 0: no-op tasks."""
    url: str = ""
    queues: int = 1


Commands = list[list[str]]


@dataclass(frozen=True, slots=True)
class System:
    """One system in one configuration."""

    name: str
    environment: str
    module: str
    brokers: tuple[str, ...]
    commands: Callable[[Job], Commands]
    settings: str
    """What is not its default, for the table."""
    acks: tuple[str, ...] = (LATE,)
    """Which of the two promises it can make."""
    batches: bool = False
    """Whether it documents a call that sends many messages."""
    results: bool = True
    confirms: bool = False
    """Whether its sends can be confirmed by RabbitMQ."""
    async_slots: bool = False
    """One process takes many tasks at once, so that the start-up row needs more of them."""
    stop_signal: int = signal.SIGTERM
    variables: Mapping[str, str] = field(default_factory=dict)


def _longshore(execution: str) -> Callable[[Job], Commands]:
    def commands(job: Job) -> Commands:
        how = ["--execution", execution, "-c", str(job.slots)] if job.slots else ["-c", str(job.processes)]
        command = [program("longshore", "longshore"), "worker", "longshore_app:app", *how]
        return [[*command, "-Q", ",".join(queue_names(job.queues)), "-l", "warning", "--ack-policy", job.ack]]

    return commands


def _celery(pool: str, *, defaults: bool = False) -> Callable[[Job], Commands]:
    def commands(job: Job) -> Commands:
        base = [program("celery", "celery"), "-A", "celery_app", "worker", "-Q", QUEUE, "-l", "warning"]
        quiet = [] if defaults else ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        if job.slots:
            return [[*base, *quiet, "-P", "threads", "-c", str(job.slots)]]
        if pool == "solo":
            return [[*base, *quiet, "-P", "solo", "-n", f"solo{n}@bench"] for n in range(job.processes)]
        return [[*base, *quiet, "-P", pool, "-c", str(job.processes)]]

    return commands


def _dramatiq(job: Job) -> Commands:
    threads = job.slots or 1
    return [[program("dramatiq", "dramatiq"), "dramatiq_app", "--processes", str(job.processes), "--threads",
             str(threads), "--skip-logging"]]  # fmt: skip


def _huey(job: Job) -> Commands:
    workers = ["-w", str(job.slots), "-k", "thread"] if job.slots else ["-w", str(job.processes), "-k", "process"]
    return [[program("huey", "huey_consumer"), "huey_app.huey", *workers, "-n", "-q", "-d", "0.001", "-m", "0.01"]]


def _taskiq(job: Job) -> Commands:
    ack = "when_received" if job.ack == EARLY else "when_executed"
    command = [program("taskiq", "taskiq"), "worker", "taskiq_app:broker", "--workers", str(job.processes)]
    limits = ["--max-async-tasks", str(job.slots or 100), "--max-prefetch", "100"]
    return [[*command, *limits, "--ack-type", ack, "--no-parse", "--log-level", "ERROR"]]


def _saq(job: Job) -> Commands:
    return [[program("saq", "saq"), "saq_app.settings", "--workers", str(job.processes), "--quiet"]]


def _arq(job: Job) -> Commands:
    return [[program("arq", "arq"), "arq_app.WorkerSettings"]] * job.processes


def _rq(job: Job) -> Commands:
    quiet = ["-q", "-S", "json", "--disable-job-desc-logging"]
    one = [program("rq", "rq"), "worker", "-u", job.url, "-w", "rq.worker.SimpleWorker", *quiet, QUEUE]
    return [one] * job.processes


def _streaq(job: Job) -> Commands:
    return [[program("streaq", "streaq"), "run", "streaq_app:worker", "-w", str(job.processes)]]


def _honker(job: Job) -> Commands:
    one = [program("honker", "python"), "-m", "honker", "worker", "honker_app:db", "--queue", QUEUE]
    return [[*one, "--concurrency", "1"]] * job.processes


def _localqueue(job: Job) -> Commands:
    return [[program("localqueue", "python"), "-m", "localqueue_app"]] * job.processes


LONGSHORE = System(
    "longshore", "longshore", "longshore_app", ("redis", "rabbitmq", "sqlite"), _longshore("threads"),
    "defaults, --ack-policy late; --execution threads for I/O", acks=(LATE, EARLY), batches=True, confirms=True,
)  # fmt: skip
LONGSHORE_ASYNCIO = System(
    "longshore asyncio", "longshore", "longshore_app", ("redis", "rabbitmq", "sqlite"), _longshore("asyncio"),
    "async tasks, --execution asyncio", acks=(LATE, EARLY), batches=True, confirms=True,
    variables={"BENCH_ASYNC": "1"},
)  # fmt: skip
CELERY = System(
    "celery", "celery", "celery_app", ("redis", "rabbitmq", "sqlite"), _celery("prefork"),
    "prefork, acks_late, reject_on_worker_lost, prefetch multiplier 100, without gossip, mingle and heartbeat; on "
    "SQLite by kombu's SQLAlchemy transport", acks=(LATE, EARLY), confirms=True,
)  # fmt: skip
CELERY_SOLO = System(
    "celery solo", "celery", "celery_app", ("redis", "rabbitmq"), _celery("solo"),
    "as celery, with the solo pool (tasks in the main process), one worker a process", acks=(LATE, EARLY),
    confirms=True,
)  # fmt: skip
CELERY_DEFAULTS = System(
    "celery, default flags", "celery", "celery_app", ("redis", "rabbitmq"), _celery("prefork", defaults=True),
    "as celery, with gossip, mingle and heartbeat", acks=(LATE, EARLY), confirms=True,
)  # fmt: skip
DRAMATIQ = System(
    "dramatiq", "dramatiq", "dramatiq_app", ("redis", "rabbitmq"), _dramatiq,
    "default middleware, 1 thread a process for no-op tasks (100 for I/O), dramatiq_queue_prefetch=100",
    confirms=True, variables={"dramatiq_queue_prefetch": "100"},
)  # fmt: skip
HUEY = System(
    "huey", "huey", "huey_app", ("redis", "sqlite"), _huey,
    "process workers (threads for I/O), results off unless the row stores them, polling delay 1 ms to 10 ms; it takes "
    "a message off before the task runs: at most once; SQLite NORMAL is its fsync=False, FULL its fsync=True",
    acks=(EARLY,), stop_signal=signal.SIGINT,
)  # fmt: skip
TASKIQ = System(
    "taskiq", "taskiq", "taskiq_app", ("redis", "rabbitmq"), _taskiq,
    "async tasks, orjson, RedisStreamBroker / classic queue with qos 200, ack when executed, no-parse, 100 tasks at "
    "once, prefetch 100", acks=(LATE, EARLY), async_slots=True, confirms=True,
)  # fmt: skip
SAQ = System(
    "saq", "saq", "saq_app", ("redis",), _saq, "async tasks, hiredis, uvloop, concurrency 10 (100 for I/O)",
    async_slots=True,
)  # fmt: skip
ARQ = System(
    "arq", "arq", "arq_app", ("redis",), _arq,
    "async tasks, hiredis, uvloop, max_jobs 100, poll_delay 5 ms, keep_result 0 unless the row stores results",
    async_slots=True,
)  # fmt: skip
RQ = System(
    "rq", "rq", "rq_app", ("redis",), _rq,
    "SimpleWorker (does not fork for each job), JSON, result_ttl 0 unless the row stores results; a job whose worker "
    "dies goes to the failed ones after its time-out", batches=True,
)  # fmt: skip
STREAQ = System(
    "streaq", "streaq", "streaq_app", ("redis",), _streaq, "async tasks, uvloop, JSON, concurrency 16 (100 for I/O)",
    batches=True, results=False, async_slots=True,
)  # fmt: skip
HONKER = System(
    "honker", "honker", "honker_app", ("sqlite",), _honker, "its worker command, concurrency 1 a process",
    results=False,
)  # fmt: skip
LOCALQUEUE = System(
    "localqueue", "localqueue", "localqueue_app", ("sqlite",), _localqueue,
    "its Worker class in a process; NORMAL is its RELAXED, FULL its DURABLE", batches=True, results=False,
)  # fmt: skip

SYSTEMS = {
    system.name: system
    for system in (
        LONGSHORE, LONGSHORE_ASYNCIO, CELERY, CELERY_SOLO, CELERY_DEFAULTS, DRAMATIQ, HUEY, TASKIQ, SAQ, ARQ, RQ,
        STREAQ, HONKER, LOCALQUEUE,
    )
}  # fmt: skip
