"""The app of both fleets: FLEET says whether it is Celery's or Longshore's. Effects are lines in a file."""

from __future__ import annotations

import os
import time
from typing import Any

FLEET = os.environ.get("FLEET", "longshore")

if FLEET == "celery":
    from celery import Celery as App
else:
    from longshore import Longshore as App

app: Any = App("fleet", broker=os.environ.get("FLEET_BROKER"), backend=os.environ.get("FLEET_RESULTS"))
app.conf.update(task_default_queue=os.environ.get("FLEET_QUEUE", "fleet"), task_acks_late=True, task_track_started=True)
if FLEET == "celery":
    app.conf.broker_transport_options = {
        "visibility_timeout": float(os.environ.get("FLEET_VISIBILITY", "3600")),
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
    app.conf.broker_connection_retry_on_startup = True
    app.conf.worker_cancel_long_running_tasks_on_connection_loss = True


def effect(line: str) -> None:
    """Append a line, whole."""
    descriptor = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


@app.task(name="fleet.note")
def note(number: int) -> str:
    """Note that this number ran, where and when."""
    effect(f"{number} {FLEET} {time.time()}")
    return FLEET


@app.task(name="fleet.nap")
def nap(number: int, seconds: float) -> str:
    """Run for a while, then note."""
    effect(f"{number} started {time.time()}")
    time.sleep(seconds)
    effect(f"{number} {FLEET} {time.time()}")
    return FLEET


@app.task(name="fleet.add")
def add(x: Any, y: Any) -> Any:
    """Add."""
    return x + y


@app.task(name="fleet.fail")
def fail(text: str) -> None:
    """Fail with an exception that both sides know."""
    raise ValueError(text)
