"""The tasks: what a Celery user would write, with `Longshore` for `Celery`.

`scan` sends one `measure` for each source file of the standard library; `snapshot` is sent by a CronSchedule.
"""

from __future__ import annotations

import os
import sqlite3

from longshore import Longshore

from codestats.measure import measure_file, source_files
from codestats.results import Results, database_path

app = Longshore("codestats")

_results: Results | None = None


def results() -> Results:
    """Return this process's connection: a connection must not cross a fork."""
    global _results
    if _results is None or _results.pid != os.getpid():
        _results = Results(database_path())
    return _results


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
