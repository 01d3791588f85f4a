"""honker: tasks on an SQLite file, run by its own worker command."""

from __future__ import annotations

import time

import counting
import honker
from settings import BROKER, QUEUE

db = honker.open(BROKER)


@db.task(queue=QUEUE)
def noop():
    counting.count()


@db.task(queue=QUEUE)
def stamp(sent_at):
    counting.stamp(sent_at)


@db.task(queue=QUEUE)
def slow():
    counting.begin()
    time.sleep(counting.SLOW_SECONDS)
    counting.count()


TASKS = {"noop": noop, "stamp": stamp, "slow": slow}


def send_one(kind, *args):
    TASKS[kind](*args)


def depth():
    return db.query("SELECT count(*) AS n FROM _honker_live")[0]["n"]
