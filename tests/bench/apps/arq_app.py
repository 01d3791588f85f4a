"""arq: uvloop and hiredis, a short poll delay, results kept only when they are asked for."""

from __future__ import annotations

import asyncio
import time

import counting
from arq import create_pool
from arq.connections import RedisSettings
from settings import BROKER, RESULTS, SLOTS

REDIS = RedisSettings.from_dsn(BROKER) if BROKER else RedisSettings()
pool = None


async def noop(_):
    counting.count()


async def stamp(_, sent_at):
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


class WorkerSettings:
    functions = (noop, stamp, slow, io)
    redis_settings = REDIS
    max_jobs = SLOTS or 100
    poll_delay = 0.005
    keep_result = 3600 if RESULTS else 0
    log_results = False


async def start():
    global pool  # noqa: PLW0603 - the state of one process
    pool = await create_pool(REDIS)


async def end():
    await pool.aclose()


async def send_one(kind, *args):
    await pool.enqueue_job(kind, *args)


def depth():
    import redis

    return redis.Redis.from_url(BROKER).zcard("arq:queue")


def stored():
    import redis

    return sum(1 for _ in redis.Redis.from_url(BROKER).scan_iter("arq:result:*", count=1000))
