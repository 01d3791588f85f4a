"""What a worker was asked to be: queues, processes, policies. Values only; a command finds them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from longshore.exceptions import ImproperlyConfigured
from longshore.policy import DEFAULT_MAX_DELIVERIES, DeadLetterPolicy

DEFAULT_DRAIN_SECONDS = 600.0
Execution = Literal["processes", "threads", "asyncio"]


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The options of one worker."""

    queues: tuple[str, ...]
    concurrency: int
    """How many tasks run at a time: processes, or slots of one process."""
    worker: str
    """Unique for ever: the pod's UID and the start."""
    name: str
    """For people, ``celery@host`` style."""
    execution: Execution = "processes"
    late_by_default: bool = False
    drain_seconds: float = DEFAULT_DRAIN_SECONDS
    http_port: int | None = None
    pool: str | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    """KiB."""
    task_events: bool = False
    """Publish task events from the start; remote control may change it."""
    dead_letters: dict[str, DeadLetterPolicy] = field(default_factory=dict)

    def dead_letter(self, queue: str) -> DeadLetterPolicy:
        """Return the dead-letter policy of a queue."""
        policy = self.dead_letters.get(queue)
        if policy is None:
            policy = self.dead_letters[queue] = DeadLetterPolicy.default_for(queue)
        return policy


def node_name(asked: str | None, host: str) -> str:
    """Return a worker's name, with Celery's %h (host), %n (its first part), %d (the rest) and %% filled in."""
    first, _, rest = host.partition(".")
    parts = {"%h": host, "%n": first, "%d": rest, "%%": "%"}
    name = re.sub(r"%[hnd%]", lambda found: parts[found.group()], asked or "longshore@%h")
    return name if "@" in name else f"{name}@{host}"


def parse_dead_letter(text: str) -> tuple[str, DeadLetterPolicy]:
    """Read ``QUEUE=DEADQUEUE[:MAXDELIVERIES[:keep|drop]]``; raise `ValueError` with what is wrong."""
    queue, equals, rest = text.partition("=")
    target, _, numbers = rest.partition(":")
    limit, _, keep = numbers.partition(":")
    if not (queue and equals and target) or keep not in {"", "keep", "drop"}:
        raise ValueError(f"{text!r} is not QUEUE=DEADQUEUE[:MAXDELIVERIES[:keep|drop]]")
    if limit and (not limit.isdigit() or int(limit) < 1):
        raise ValueError(f"{text!r}: {limit!r} is not a number of deliveries, 1 or more")
    return queue, DeadLetterPolicy(target, int(limit or DEFAULT_MAX_DELIVERIES), keep_failures=keep != "drop")


def available_cpus(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the CPUs that this process may use: its cgroup's quota rounded up, else its affinity; never the node's.

    Reads cgroup v2's cpu.max, then v1's cfs quota.
    """
    affinity = len(os.sched_getaffinity(0))
    quota = _quota_v2(root) or _quota_v1(root)
    return affinity if quota is None else max(1, min(affinity, -int(-quota // 1)))


def _quota_v2(root: Path) -> float | None:
    words = _words(root / "cpu.max")
    if len(words) != 2 or words[0] == "max":  # noqa: PLR2004 - quota and period
        return None
    return int(words[0]) / int(words[1])


def _quota_v1(root: Path) -> float | None:
    quota, period = _words(root / "cpu/cpu.cfs_quota_us"), _words(root / "cpu/cpu.cfs_period_us")
    if not quota or not period or int(quota[0]) <= 0:
        return None
    return int(quota[0]) / int(period[0])


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def check_queues(queues: tuple[str, ...]) -> tuple[str, ...]:
    """Return the queues without repetition; an empty name is a user's mistake."""
    if not queues or any(not queue.strip() for queue in queues):
        raise ImproperlyConfigured("a worker needs queue names: -Q orders,mails")
    return tuple(dict.fromkeys(queue.strip() for queue in queues))
