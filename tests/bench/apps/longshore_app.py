"""Longshore: defaults, and nothing else but for the row that says so."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import counting
from settings import ASYNC, BROKER, DURABILITY, KIND, QUEUE, RESULTS, UNCONFIRMED

from longshore import Longshore
from longshore.brokers.port import QueueSpec

URL = f"sqlite:///{BROKER}?durability={DURABILITY}" if KIND == "sqlite" else BROKER
TRANSPORT = {"confirm_publish": False} if UNCONFIRMED else {}
app = Longshore(
    "bench", broker=URL, backend=RESULTS or None, task_default_queue=QUEUE, broker_transport_options=TRANSPORT
)
BATCH = 100


@app.task(name="bench.noop")
def noop():
    counting.count()


@app.task(name="bench.stamp")
def stamp(sent_at):
    counting.stamp(sent_at)


@app.task(name="bench.slow")
def slow():
    counting.begin()
    time.sleep(counting.SLOW_SECONDS)
    counting.count()


def wait():
    began = time.perf_counter()
    time.sleep(counting.WAIT_SECONDS)
    counting.note(began, time.perf_counter())
    counting.count()


async def wait_async():
    began = time.perf_counter()
    await asyncio.sleep(counting.WAIT_SECONDS)
    counting.note(began, time.perf_counter())
    counting.count()


io = app.task(name="bench.io")(wait_async if ASYNC else wait)


TASKS = {"noop": noop, "stamp": stamp, "slow": slow, "io": io}


async def start():
    """As a worker does at its start: a message to a queue that does not exist is an error here."""
    app.broker.declare([QueueSpec(QUEUE)])


def send_one(kind, *args):
    TASKS[kind].apply_async(args)


def send_many(kind, count):
    for _ in range(count // BATCH):
        app.send_many([(TASKS[kind], ())] * BATCH)
    app.send_many([(TASKS[kind], ())] * (count % BATCH))


def send_beside(kind, count, threads):
    with ThreadPoolExecutor(threads) as pool:
        for sending in [pool.submit(_send_some, kind, count // threads) for _ in range(threads)]:
            sending.result()


def _send_some(kind, count):
    for _ in range(count):
        send_one(kind)


def fill(kind, count):
    for start in range(0, count, 1000):
        app.send_many([(TASKS[kind], ())] * min(1000, count - start))


def message_bytes():
    message = app.outgoing("bench.noop", (), {}).message
    if KIND == "redis":
        from longshore.brokers.redis.envelope import encode

        return len(encode(QUEUE, message))
    if KIND == "sqlite":
        from longshore.brokers.sqlite.codec import dump_message

        return len(dump_message(message))
    return None


def depth():
    found = app.broker.depths([QUEUE])[QUEUE]
    return 0 if found is None else sum(number or 0 for number in (found.ready, found.leased, found.delayed))


def stored():
    import redis

    return redis.Redis.from_url(RESULTS).dbsize()
