"""localqueue: a queue in Rust on SQLite, and its own Worker class around one handler."""

from __future__ import annotations

import os
import signal

import counting
from localqueue import DurabilityMode, SimpleQueue, Worker
from settings import BROKER, DURABILITY, QUEUE

MODE = DurabilityMode.DURABLE if DURABILITY == "full" else DurabilityMode.RELAXED
queue = SimpleQueue(os.path.dirname(BROKER), QUEUE, durability=MODE)  # noqa: PTH120 - it takes a folder
BATCH = 100


def handle(job):
    if job.data["kind"] == "noop":
        counting.count()
    else:
        counting.stamp(*job.data["args"])


def send_one(kind, *args):
    queue.put({"kind": kind, "args": args})


def send_many(kind, count):
    for start in range(0, count, BATCH):
        queue.put_many([{"kind": kind, "args": ()}] * min(BATCH, count - start))


def depth():
    stats = queue.stats()
    return stats["ready"] + stats["processing"]


def main():
    worker = Worker(queue, handle)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()


if __name__ == "__main__":
    main()
