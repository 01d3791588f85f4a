"""Longshore: defaults, and nothing else but for the row that says so."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import counting
from settings import ASYNC, BROKER, DURABILITY, KIND, PAYLOAD, QUEUE, QUEUES, RESULTS, UNCONFIRMED

from longshore import Longshore
from longshore.brokers.port import QueueSpec

URL = f"sqlite:///{BROKER}?durability={DURABILITY}" if KIND == "sqlite" else BROKER
TRANSPORT = {"confirm_publish": False} if UNCONFIRMED else {}
app = Longshore(
    "bench", broker=URL, backend=RESULTS or None, task_default_queue=QUEUE, broker_transport_options=TRANSPORT
)
BATCH = 100
FILL_BATCH = 1000
FILL_BYTES = 4_000_000
"""A fill sends no more than this at once, so that each batch ends within the deadline of a send."""


@app.task(name="bench.noop")
def noop():
    counting.count()


@app.task(name="bench.weigh")
def weigh(_data):
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


TASKS = {"noop": noop, "weigh": weigh, "stamp": stamp, "slow": slow, "io": io}


async def start():
    """As a worker does at its start: a message to a queue that does not exist is an error here."""
    app.broker.declare([QueueSpec(name) for name in QUEUES])


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


async def send_coroutines(kind, count, coroutines):
    await asyncio.gather(*(_send_some_awaiting(kind, count // coroutines) for _ in range(coroutines)))


async def _send_some_awaiting(kind, count):
    for _ in range(count):
        await TASKS[kind].aapply_async()


def fill(kind, count, **options):
    """Spread over the queues, the same number in each but for one."""
    call = (TASKS[kind], ("x" * PAYLOAD,) if kind == "weigh" else ())
    step = min(FILL_BATCH, max(FILL_BYTES // max(PAYLOAD, 1), 1))
    for number, queue in enumerate(QUEUES):
        share = count // len(QUEUES) + (number < count % len(QUEUES))
        for start in range(0, share, step):
            app.send_many([call] * min(step, share - start), queue=queue, **options)


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
    found = [depth for depth in app.broker.depths(QUEUES).values() if depth is not None]
    return sum(number or 0 for depth in found for number in (depth.ready, depth.leased, depth.delayed))


def stored():
    import redis

    return redis.Redis.from_url(RESULTS).dbsize()
