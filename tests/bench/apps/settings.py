"""What a trial asks of a system, from the environment: where broker and results are, and what is promised."""

from __future__ import annotations

import os

BROKER = os.environ.get("BENCH_BROKER", "")
"""Address of the broker; for SQLite the path of the file."""
RESULTS = os.environ.get("BENCH_RESULTS", "")
"""Address of a Redis database for results; empty: no results are stored."""
KIND = os.environ.get("BENCH_KIND", "redis")
"""redis, rabbitmq or sqlite."""
EARLY = os.environ.get("BENCH_EARLY") == "1"
CONFIRM = os.environ.get("BENCH_CONFIRM") == "1"
UNCONFIRMED = os.environ.get("BENCH_UNCONFIRMED") == "1"
DURABILITY = os.environ.get("BENCH_DURABILITY", "normal")
SLOTS = int(os.environ.get("BENCH_SLOTS", "0"))
"""Tasks side by side in one process, where a system asks for it in code; 0 is what suits no-op tasks."""
ASYNC = os.environ.get("BENCH_ASYNC") == "1"
QUEUE = "bench"
PAYLOAD = int(os.environ.get("BENCH_PAYLOAD", "0"))
"""Bytes of the argument of a task `weigh`."""


def queue_names(count: int) -> list[str]:
    """Return the queues of a worker that serves so many."""
    return [QUEUE, *(f"{QUEUE}-{number}" for number in range(1, count))]


QUEUES = queue_names(int(os.environ.get("BENCH_QUEUES", "1")))
