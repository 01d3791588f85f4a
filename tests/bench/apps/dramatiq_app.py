"""Dramatiq: its default middleware; results by its own middleware when they are asked for."""

from __future__ import annotations

import time

import counting
import dramatiq
from settings import BROKER, CONFIRM, KIND, QUEUE, RESULTS

if KIND == "redis":
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=BROKER)
else:
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker = RabbitmqBroker(url=BROKER, confirm_delivery=CONFIRM)
if RESULTS:
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend

    broker.add_middleware(Results(backend=RedisBackend(url=RESULTS), store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=QUEUE)
def noop():
    counting.count()


@dramatiq.actor(queue_name=QUEUE)
def stamp(sent_at):
    counting.stamp(sent_at)


@dramatiq.actor(queue_name=QUEUE)
def slow():
    counting.begin()
    time.sleep(counting.SLOW_SECONDS)
    counting.count()


@dramatiq.actor(queue_name=QUEUE)
def io():
    began = time.perf_counter()
    time.sleep(counting.WAIT_SECONDS)
    counting.note(began, time.perf_counter())
    counting.count()


TASKS = {"noop": noop, "stamp": stamp, "slow": slow, "io": io}


def send_one(kind, *args):
    TASKS[kind].send(*args)


def depth():
    if KIND == "redis":
        import redis

        return redis.Redis.from_url(BROKER).hlen(f"dramatiq:{QUEUE}.msgs")
    return None


def stored():
    import redis

    return redis.Redis.from_url(RESULTS).dbsize()
