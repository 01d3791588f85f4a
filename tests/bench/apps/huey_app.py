"""Huey: blocking pops on Redis, results off unless they are asked for; its messages are gone when they are taken."""

from __future__ import annotations

import time

import counting
from huey import RedisHuey, SqliteHuey
from settings import BROKER, DURABILITY, KIND, QUEUE, RESULTS

if KIND == "sqlite":
    huey = SqliteHuey(QUEUE, filename=BROKER, results=False, fsync=DURABILITY == "full")
else:
    huey = RedisHuey(QUEUE, url=BROKER, results=bool(RESULTS), store_none=bool(RESULTS))


@huey.task()
def noop():
    counting.count()


@huey.task()
def stamp(sent_at):
    counting.stamp(sent_at)


@huey.task()
def slow():
    counting.begin()
    time.sleep(counting.SLOW_SECONDS)
    counting.count()


@huey.task()
def io():
    began = time.perf_counter()
    time.sleep(counting.WAIT_SECONDS)
    counting.note(began, time.perf_counter())
    counting.count()


TASKS = {"noop": noop, "stamp": stamp, "slow": slow, "io": io}


def send_one(kind, *args):
    TASKS[kind](*args)


def depth():
    return len(huey)


def stored():
    return huey.storage.conn.hlen(huey.storage.result_key)
