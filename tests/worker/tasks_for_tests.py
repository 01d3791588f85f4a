"""The app that the worker tests run. Effects are lines in a file named by the environment: appended whole, or not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from longshore import Longshore
from longshore.exceptions import Ignore, Reject

app = Longshore("tests", broker="sqlite:///unused.db", task_default_queue="q")


def note(line: str) -> None:
    descriptor = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


@app.task
def add(x, y):
    note(f"add {x} {y}")
    return x + y


@app.task(bind=True)
def who(self):
    return {"id": self.request.id, "queue": self.request.delivery_info["routing_key"], "pid": os.getpid()}


@app.task(bind=True, acks_late=True)
def slow(self, name, until):
    """Runs until the file `until` exists."""
    note(f"start {name} {os.getpid()} {self.request.deliveries}")
    while not Path(until).exists():
        time.sleep(0.01)
    note(f"end {name}")
    return name


@app.task(bind=True)
def slow_early(self, name, until):
    note(f"start {name} {os.getpid()} {self.request.deliveries}")
    while not Path(until).exists():
        time.sleep(0.01)
    note(f"end {name}")


@app.task(bind=True, acks_late=True, max_retries=1)
def acknowledges(self, name, until):
    """Comes to a point that must not be repeated; then runs until the file `until` exists."""
    note(f"start {name} {os.getpid()}")
    self.acknowledge()
    self.acknowledge()
    note(f"acknowledged {name}")
    while not Path(until).exists():
        time.sleep(0.01)
    if name == "again" and self.request.retries == 0:
        raise self.retry(countdown=0)
    if name == "rejected":
        raise Reject("no more", requeue=True)
    note(f"end {name}")
    return name


@app.task(acks_late=True)
def poison():
    note("poison")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(acks_late=True)
def innocent(number):
    note(f"innocent {number}")


@app.task(bind=True, max_retries=2, default_retry_delay=0.05)
def flaky(self, fail_times):
    note(f"flaky {self.request.retries}")
    if self.request.retries < fail_times:
        raise self.retry(exc=ValueError("not yet"))
    return self.request.retries


@app.task(autoretry_for=(ConnectionError,), retry_backoff=0.01, retry_jitter=False, max_retries=3)
def unreachable():
    note("unreachable")
    raise ConnectionError("nobody there")


@app.task
def fails(text):
    raise ValueError(text)


@app.task
def ignores():
    note("ignores")
    raise Ignore


@app.task(bind=True, acks_late=True)
def rejects(self, *, requeue):
    note(f"rejects {self.request.deliveries} {self.request.redelivered}")
    if requeue and self.request.deliveries:
        return
    raise Reject("not for me", requeue=requeue)


@app.task
def exits():
    raise SystemExit(3)


@app.task
async def coroutine(x):
    return x * 2


@app.task
def returns_what_json_cannot_hold():
    return object()
