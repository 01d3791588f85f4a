"""saq: hiredis and uvloop as its guide advises; a result is always kept, for no time when none is asked for."""

from __future__ import annotations

import asyncio
import time

import counting
from saq import Queue
from settings import BROKER, QUEUE, RESULTS, SLOTS

queue = Queue.from_url(BROKER, name=QUEUE)
KEPT_SECONDS = 3600 if RESULTS else -1


async def noop(_):
    counting.count()


async def stamp(_, *, sent_at):
    counting.stamp(sent_at)


async def slow(_):
    counting.begin()
    await asyncio.sleep(counting.SLOW_SECONDS)
    counting.count()


async def io(_):
    began = time.perf_counter()
    await asyncio.sleep(counting.WAIT_SECONDS)
    counting.note(began, time.perf_counter())
    counting.count()


settings = {"queue": queue, "functions": [noop, stamp, slow, io], "concurrency": SLOTS or 10}


async def start():
    await queue.connect()


async def end():
    await queue.disconnect()


async def send_one(kind, *args):
    await queue.enqueue(kind, ttl=KEPT_SECONDS, **({"sent_at": args[0]} if args else {}))


def depth():
    import redis

    client = redis.Redis.from_url(BROKER)
    return client.llen(queue.namespace("queued")) + client.llen(queue.namespace("active"))


def stored():
    import redis

    return sum(1 for _ in redis.Redis.from_url(BROKER).scan_iter(f"saq:job:{QUEUE}:*", count=1000))
