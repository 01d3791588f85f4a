"""The app that chaos workers run. Every task notes its start and its end, by the number that it was sent with."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

from longshore import Longshore
from tests.chaos.journal import END, START, Pen

JOURNAL = "CHAOS_JOURNAL"
PREFIX = "chaos."
RETRIED = 1_000_000_000
"""What is added to the number of a task in the marks of its retry, or of the body of its chord."""

app = Longshore("chaos", broker="sqlite:///unused.db")
pen = Pen(os.environ.get(JOURNAL, os.devnull))


def began(task: Any, number: int) -> None:
    pen.write(START, number, task.request.deliveries, task.request.redelivered)


def ended(task: Any, number: int) -> None:
    pen.write(END, number, task.request.deliveries, task.request.redelivered)


@app.task(bind=True, name=PREFIX + "quick")
def quick(self, number):
    """Ends at once: many of them are claimed ahead."""
    began(self, number)
    ended(self, number)


@app.task(bind=True, name=PREFIX + "again", max_retries=1)
def again(self, number):
    """Is retried once; the retry has a number of its own."""
    if self.request.retries:
        number += RETRIED
    began(self, number)
    ended(self, number)
    if not self.request.retries:
        raise self.retry(countdown=0.05)


@app.task(bind=True, name=PREFIX + "part")
def part(self, number):
    """One of a chord's header."""
    began(self, number)
    ended(self, number)
    return number


@app.task(bind=True, name=PREFIX + "join")
def join(self, numbers):
    """A chord's body; its number is that of the first part."""
    number = min(numbers) + RETRIED
    began(self, number)
    ended(self, number)


@app.task(bind=True, name=PREFIX + "quick_async")
async def quick_async(self, number):
    began(self, number)
    await asyncio.sleep(0)
    ended(self, number)


@app.task(bind=True, name=PREFIX + "nap")
def nap(self, number, seconds):
    began(self, number)
    time.sleep(seconds)
    ended(self, number)


@app.task(bind=True, name=PREFIX + "nap_async")
async def nap_async(self, number, seconds):
    began(self, number)
    await asyncio.sleep(seconds)
    ended(self, number)


@app.task(bind=True, name=PREFIX + "hold_gil")
def hold_gil(self, number, seconds):
    """Holds the interpreter's lock all the time: no thread of this process runs meanwhile."""
    began(self, number)
    libc = ctypes.PyDLL(None)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        libc.usleep(int(min(left, 3600.0) * 1e6))
    ended(self, number)


@app.task(bind=True, name=PREFIX + "gate")
def gate(self, number, folder):
    """Runs until a file named after its process, or the file `all`, is in the folder."""
    began(self, number)
    doors = (Path(folder) / str(os.getpid()), Path(folder) / "all")
    while not any(door.exists() for door in doors):
        time.sleep(0.005)
    ended(self, number)


@app.task(bind=True, name=PREFIX + "poison")
def poison(self, number):
    """Kills its process, each time."""
    began(self, number)
    os.kill(os.getpid(), signal.SIGKILL)
