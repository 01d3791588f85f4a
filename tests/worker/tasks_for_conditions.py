"""The app of the tests of locks, rate limits and idempotency keys. Effects are lines in a file, with their time."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from longshore import Longshore
from tests.worker.tasks_for_tests import note

app = Longshore("conditions", broker="sqlite:///unused.db", task_default_queue="q")


def times(line):
    """How often this effect was noted."""
    return Path(os.environ["EFFECTS"]).read_text().splitlines().count(line)


@app.task
def add(x, y):
    note(f"add {x} {y}")
    return x + y


@app.task(lock="report:{data_id}", lock_timeout=20, acks_late=True)
def report(data_id, name, seconds=0.0, until=None):
    note(f"start {data_id} {name} {time.time()}")
    time.sleep(seconds)
    while until and not Path(until).exists():
        time.sleep(0.01)
    note(f"end {data_id} {name} {time.time()}")
    return name


@app.task(lock=True, lock_timeout=0.6, acks_late=True)
def holds_the_gil(name, seconds):
    note(f"start gil {name} {time.time()}")
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    note(f"end gil {name} {time.time()}")


@app.task(lock="report:{data_id}", lock_blocking_timeout=0.4)
def impatient(data_id):
    note(f"impatient {data_id}")


@app.task(lock="die", lock_timeout=20, acks_late=True)
def dies_once():
    note("dies")
    if times("dies") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return times("dies")


@app.task(lock="short", lock_timeout=1.0, acks_late=True)
def short_lease(name, until=None):
    note(f"start short {name}")
    while until and not Path(until).exists():
        time.sleep(0.01)
    return name


@app.task(rate_limit="20/s")
def limited(number):
    note(f"limited {number} {time.time()}")


@app.task(idempotency_key="order:{order}", bind=True, acks_late=True, max_retries=2, default_retry_delay=0.05)
def pay(self, order, fail_times=0, die_times=0):
    note(f"pay {order} {self.request.retries}")
    if times(f"pay {order} 0") <= die_times:
        os.kill(os.getpid(), signal.SIGKILL)
    if self.request.retries < fail_times:
        raise self.retry(exc=ValueError("not yet"))
    return f"paid {order}"
