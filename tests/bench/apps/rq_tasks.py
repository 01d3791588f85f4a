"""RQ's tasks: plain functions, by their names."""

from __future__ import annotations

import time

import counting


def noop():
    counting.count()


def stamp(sent_at):
    counting.stamp(sent_at)


def slow():
    counting.begin()
    time.sleep(counting.SLOW_SECONDS)
    counting.count()


def io():
    began = time.perf_counter()
    time.sleep(counting.WAIT_SECONDS)
    counting.note(began, time.perf_counter())
    counting.count()
