"""taskiq: orjson, streams on Redis (its broker that acknowledges), persistent messages on RabbitMQ."""

from __future__ import annotations

import asyncio
import time

import counting
from settings import BROKER, KIND, QUEUE, RESULTS
from taskiq.serializers import ORJSONSerializer

if KIND == "redis":
    from taskiq_redis import RedisStreamBroker

    broker = RedisStreamBroker(BROKER, queue_name=QUEUE, consumer_group_name=QUEUE, consumer_id="0")
else:
    from taskiq_aio_pika import AioPikaBroker, Exchange, Queue, QueueType

    CLASSIC = Queue(name=QUEUE, type=QueueType.CLASSIC)
    broker = AioPikaBroker(BROKER, qos=200, exchange=Exchange(name=f"{QUEUE}.taskiq"), task_queues=[CLASSIC])
if RESULTS:
    from taskiq_redis import RedisAsyncResultBackend

    broker = broker.with_result_backend(RedisAsyncResultBackend(RESULTS, result_ex_time=3600))
broker = broker.with_serializer(ORJSONSerializer())


@broker.task(task_name="noop")
async def noop():
    counting.count()


@broker.task(task_name="stamp")
async def stamp(sent_at: float):
    counting.stamp(sent_at)


@broker.task(task_name="slow")
async def slow():
    counting.begin()
    await asyncio.sleep(counting.SLOW_SECONDS)
    counting.count()


@broker.task(task_name="io")
async def io():
    began = time.perf_counter()
    await asyncio.sleep(counting.WAIT_SECONDS)
    counting.note(began, time.perf_counter())
    counting.count()


TASKS = {"noop": noop, "stamp": stamp, "slow": slow, "io": io}


async def start():
    await broker.startup()


async def end():
    await broker.shutdown()


async def send_one(kind, *args):
    await TASKS[kind].kiq(*args)


def depth():
    """What no group has read yet, and what was read and is not acknowledged."""
    if KIND == "redis":
        import redis

        client = redis.Redis.from_url(BROKER)
        group = client.xinfo_groups(QUEUE)[0]
        return (group["lag"] or 0) + group["pending"]
    return None


def stored():
    import redis

    return redis.Redis.from_url(RESULTS).dbsize()
