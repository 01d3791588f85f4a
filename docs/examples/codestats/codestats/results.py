"""Where the figures are kept: one row a file in a small SQLite database, written idempotently.

A task may run twice (a worker that is killed after it wrote and before it settled): the second row replaces the first,
so that nothing is counted twice. Ticks are kept the same way, by the id of their message.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import astuple
from pathlib import Path

from codestats.measure import FIGURES, Figures

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS files(name TEXT PRIMARY KEY, {", ".join(f"{name} INTEGER NOT NULL" for name in FIGURES)});
CREATE TABLE IF NOT EXISTS snapshots(tick TEXT PRIMARY KEY, files INTEGER NOT NULL, lines INTEGER NOT NULL);
"""
BUSY_SECONDS = 30.0


def database_path() -> Path:
    """Return the database that CODESTATS_DATABASE names, or ``codestats.db`` in the working folder."""
    return Path(os.environ.get("CODESTATS_DATABASE", "codestats.db"))


def create(path: Path) -> None:
    """Make the database and its tables, or keep those that are there."""
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA)


class Results:
    """A connection to the figures. Each write is one transaction of its own."""

    def __init__(self, path: Path) -> None:
        create(path)
        self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def put(self, name: str, figures: Figures) -> None:
        """Write one file's figures; a second time changes nothing."""
        marks = ", ".join("?" * (1 + len(FIGURES)))
        self._connection.execute(f"INSERT OR REPLACE INTO files VALUES ({marks})", (name, *astuple(figures)))

    def snapshot(self, tick: str) -> int:
        """Note how far the work has come at a tick; return the files so far."""
        self._connection.execute(
            "INSERT OR IGNORE INTO snapshots SELECT ?, count(*), coalesce(sum(lines), 0) FROM files", (tick,)
        )
        return self.files()

    def files(self) -> int:
        """Count the measured files."""
        return int(self._connection.execute("SELECT count(*) FROM files").fetchone()[0])

    def ticks(self) -> int:
        """Count the ticks that ran."""
        return int(self._connection.execute("SELECT count(*) FROM snapshots").fetchone()[0])

    def total(self) -> Figures:
        """Add the figures of all files."""
        sums = ", ".join(f"coalesce(sum({name}), 0)" for name in FIGURES)
        return Figures(*self._connection.execute(f"SELECT {sums} FROM files").fetchone())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
