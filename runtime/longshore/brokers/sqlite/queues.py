"""Queues by name and by number. A number stays with its name for ever, so that every process may remember it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from longshore.brokers.sqlite.database import Database
from longshore.brokers.sqlite.schema import NAME_QUEUE


class QueueNumbers:
    """The numbers that this process knows, and how to learn the others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: dict[str, int] = {}

    def of(self, name: str, timeout: float | None = None) -> int:
        """Return a queue's number, giving it one if nobody ever named it."""
        number = self._numbers.get(name)
        return self.of_all((name,), timeout=timeout)[0] if number is None else number

    def of_all(self, names: Sequence[str], *, declare: bool = False, timeout: float | None = None) -> list[int]:
        """Return the numbers of several queues; `declare` makes them exist even when empty."""
        if declare or any(name not in self._numbers for name in names):
            number = self._database.write(lambda connection: _number(connection, names, declare), timeout=timeout)
            self._numbers.update(number)
        return [self._numbers[name] for name in names]

    def clear(self) -> None:
        """Forget all: the next file of that name may be another one."""
        self._numbers.clear()

    def find(self, names: Sequence[str]) -> dict[str, int]:
        """Return the numbers of those that have one."""
        missing = [name for name in names if name not in self._numbers]
        for name in missing:
            for (number,) in self._database.peek("SELECT id FROM queues WHERE name = ?", (name,)):
                self._numbers[name] = int(str(number))
        return {name: self._numbers[name] for name in names if name in self._numbers}


def _number(connection: sqlite3.Connection, names: Sequence[str], declare: bool) -> dict[str, int]:
    connection.executemany(NAME_QUEUE, [(name,) for name in names])
    if declare:
        connection.executemany("UPDATE queues SET declared = 1 WHERE name = ?", [(name,) for name in names])
    select = "SELECT id FROM queues WHERE name = ?"
    return {name: connection.execute(select, (name,)).fetchall()[0][0] for name in names}
