"""streaQ: uvloop, JSON, its batch call for sending."""

from __future__ import annotations

import asyncio
import json
import time

import counting
from settings import BROKER, QUEUE, RESULTS, SLOTS
from streaq import Worker

worker = Worker(
    redis_url=BROKER or "redis://localhost",
    queue_name=QUEUE,
    concurrency=SLOTS or 16,
    serializer=json.dumps,
    deserializer=json.loads,
    anyio_kwargs={"use_uvloop": True},
)
KEPT_SECONDS = 3600 if RESULTS else 0
BATCH = 100


@worker.task(ttl=KEPT_SECONDS)
async def noop():
    counting.count()


@worker.task(ttl=KEPT_SECONDS)
async def stamp(sent_at: float):
    counting.stamp(sent_at)


@worker.task(ttl=KEPT_SECONDS)
async def slow():
    counting.begin()
    await asyncio.sleep(counting.SLOW_SECONDS)
    counting.count()


@worker.task(ttl=KEPT_SECONDS)
async def io():
    began = time.perf_counter()
    await asyncio.sleep(counting.WAIT_SECONDS)
    counting.note(began, time.perf_counter())
    counting.count()


TASKS = {"noop": noop, "stamp": stamp, "slow": slow, "io": io}


async def start():
    await worker.__aenter__()


async def end():
    await worker.__aexit__(None, None, None)


async def send_one(kind, *args):
    await TASKS[kind].enqueue(*args)


async def send_many(kind, count):
    for start in range(0, count, BATCH):
        await worker.enqueue_many([TASKS[kind].enqueue() for _ in range(min(BATCH, count - start))])


async def depth():
    return await worker.queue_size()


def stored():
    return None
