"""The tasks: what a Celery user would write, with `Longshore` for `Celery`.

`scan` sends one `measure` for each source file of the standard library; `snapshot` is sent by a CronSchedule.
"""

from __future__ import annotations

import functools
import os
import sqlite3

from codestats.measure import measure_file, source_files
from codestats.results import Results, database_path
from longshore import Longshore

app = Longshore("codestats")


def results() -> Results:
    """Return this process's connection: a connection must not cross a fork."""
    return _results_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _results_of(pid: int) -> Results:  # noqa: ARG001 - the key
    return Results(database_path())


@app.task(queue="measure", acks_late=True, autoretry_for=(sqlite3.OperationalError,), retry_backoff=True)
def measure(name: str) -> int:
    """Measure one file and write its row; a file that does not decode or parse fails, with the reason."""
    figures = measure_file(name)
    results().put(name, figures)
    return figures.lines


@app.task(queue="control", acks_late=True)
def scan() -> int:
    """Send one `measure` for each source file; run twice it sends twice, which the rows do not mind."""
    return len(app.send_many((measure, (name,)) for name in source_files()))


@app.task(queue="control", bind=True, acks_late=True)
def snapshot(self) -> int:
    """Note how far the work has come; the tick's message id makes it count once."""
    return results().snapshot(self.request.id)
