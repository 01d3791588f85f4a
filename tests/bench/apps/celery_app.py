"""Celery: late acks, a high prefetch multiplier as its guide advises for short tasks, events and gossip off."""

from __future__ import annotations

import time

import counting
from celery import Celery
from settings import BROKER, CONFIRM, EARLY, KIND, QUEUE, RESULTS

URL = f"sqla+sqlite:///{BROKER}" if KIND == "sqlite" else BROKER
app = Celery("bench", broker=URL, backend=RESULTS or None)
app.conf.update(
    task_default_queue=QUEUE,
    task_acks_late=not EARLY,
    task_reject_on_worker_lost=not EARLY,
    task_ignore_result=not RESULTS,
    worker_prefetch_multiplier=100,
    broker_connection_retry_on_startup=True,
)
if KIND == "rabbitmq":
    app.conf.broker_transport_options = {"confirm_publish": CONFIRM}


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


@app.task(name="bench.io")
def io():
    began = time.perf_counter()
    time.sleep(counting.WAIT_SECONDS)
    counting.note(began, time.perf_counter())
    counting.count()


TASKS = {"noop": noop, "stamp": stamp, "slow": slow, "io": io}


def send_one(kind, *args):
    TASKS[kind].apply_async(args)


def depth():
    if KIND == "redis":
        import redis

        client = redis.Redis.from_url(BROKER)
        return client.llen(QUEUE) + client.hlen("unacked")
    if KIND == "sqlite":
        import sqlite3

        with sqlite3.connect(BROKER) as connection:
            return connection.execute("SELECT count(*) FROM kombu_message WHERE visible").fetchone()[0]
    return None


def stored():
    import redis

    return redis.Redis.from_url(RESULTS).dbsize()
