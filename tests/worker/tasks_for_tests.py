"""The app that the worker tests run. Effects are lines in a file named by the environment: appended whole, or not."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import threading
import time
from collections import deque
from pathlib import Path

from longshore import Longshore
from longshore.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from longshore.utils.log import get_task_logger

app = Longshore("tests", broker="sqlite:///unused.db", task_default_queue="q")


def note(line: str) -> None:
    descriptor = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


@app.task
def add(x, y):
    note(f"add {x} {y}")
    return x + y


if os.environ.get("EXTENDED"):
    app.conf.result_extended = True


@app.task(bind=True, track_started=True, acks_late=True, max_retries=1, default_retry_delay=0.5)
def slow_tracked(self, gate):
    """STARTED until the file is there, PROGRESS until a second one is, RETRY once, SUCCESS."""
    if self.request.retries:
        return "done"
    while not Path(gate).exists():
        time.sleep(0.01)
    self.update_state(state="PROGRESS", meta={"done": 50})
    while not Path(f"{gate}2").exists():
        time.sleep(0.01)
    raise self.retry(exc=ValueError("not yet"))


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


@app.task
def early(number, *, deadly=False):
    note(f"early {number}")
    if deadly:
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


# -- what time limits meet -----------------------------------------------------------------------------------------


def _noted(self, kind, work):
    note(f"start {kind} {os.getpid()} {self.request.deliveries}")
    try:
        work()
    except SoftTimeLimitExceeded:
        note(f"soft {kind}")
        raise
    note(f"end {kind}")


def compute(seconds):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        sum(range(1000))


def hold_the_gil(seconds):
    """C code that gives the interpreter no turn, for about so long."""
    ctypes.PyDLL(None).poll(None, 0, int(seconds * 1000))
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        deque(itertools.repeat(0, 200_000_000), maxlen=0)


@app.task(bind=True, acks_late=True)
def cpu(self, seconds):
    _noted(self, "cpu", lambda: compute(seconds))


@app.task(bind=True, acks_late=True)
def io(self, seconds):
    _noted(self, "io", lambda: time.sleep(seconds))


@app.task(bind=True, acks_late=True)
def gil(self, seconds):
    _noted(self, "gil", lambda: hold_the_gil(seconds))


@app.task(bind=True, acks_late=True)
async def waits(self, seconds):
    import asyncio  # a worker that runs no coroutine never loads it, and a test says so

    note(f"start waits {os.getpid()} {self.request.deliveries}")
    try:
        await asyncio.sleep(seconds)
    except SoftTimeLimitExceeded:
        note("soft waits")
        raise
    note("end waits")


@app.task(bind=True, acks_late=True, soft_time_limit=0.2)
def catches_the_soft_limit(self):
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return [self.request.time_limit, self.request.soft_time_limit]


@app.task(bind=True, acks_late=True, reject_on_worker_lost=False)
def dies_for_good(self):
    note(f"dies {self.request.deliveries}")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(acks_late=True)
def pid():
    return os.getpid()


@app.task(acks_late=True)
def grows(megabytes):
    kept.append(bytearray(os.urandom(1024)) * (1024 * megabytes))
    return os.getpid()


kept = []


@app.task(bind=True, name="tests.tells")
def tells(self, *args, **kwargs):
    """All that a task is told of its call."""
    said = self.request
    return {
        "id": said.id, "task": said.task, "args": said.args, "kwargs": said.kwargs, "retries": said.retries,
        "root_id": said.root_id, "parent_id": said.parent_id, "group": said.group, "eta": said.eta,
        "expires": said.expires, "queue": said.delivery_info["routing_key"], "redelivered": said.redelivered,
        "deliveries": said.deliveries, "hostname": said.hostname, "origin": said.origin,
        "correlation_id": said.correlation_id, "custom": said.get("custom"), "direct": said.called_directly,
        "priority": said.delivery_info["priority"],
    }  # fmt: skip


@app.task
def logs(text):
    get_task_logger("tests.logs").warning(text)


class Strange(Exception):
    """Neither pickles nor rebuilds from its arguments."""

    def __init__(self, code, *, reason):
        super().__init__(code)
        self.reason = reason
        self.lock = threading.Lock()

    def __str__(self):
        return f"strange {self.reason}"


@app.task
def fails_strangely():
    raise Strange(object(), reason="to tell")


@app.task(track_started=True)
def tracked(until):
    while not Path(until).exists():
        time.sleep(0.01)


@app.task(ignore_result=True)
def forgotten():
    note("forgotten")


@app.task(bind=True, max_retries=3)
def waits_then_retries(self, until):
    if self.request.retries == 0:
        while not Path(until).exists():
            time.sleep(0.01)
        raise self.retry(countdown=1)
    return "done"


@app.task
async def coroutine(x):
    return x * 2


@app.task
def returns_what_json_cannot_hold():
    return object()


@app.task(acks_late=True, acks_on_failure_or_timeout=False, time_limit=0.3)
def kept_on_timeout():
    time.sleep(30)


@app.task(acks_late=True)
def sometimes_long(name, seconds):
    note(f"begin {name}")
    time.sleep(seconds)


@app.task(bind=True, acks_late=True)
def acknowledges_and_dies(self):
    note("begun")
    self.acknowledge()
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def note_trouble(task_id):
    note(f"trouble {task_id}")
