"""The tables of results in a database: Celery's two, as its newest version lays them out, and ours for chords."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

EXTENDED = ("name", "worker", "retries", "queue")


@cache
def metadata() -> MetaData:
    """Return the tables; those that are there already are left as they are."""
    from sqlalchemy import MetaData

    made = MetaData()
    _add_celerys(made)
    _add_ours(made)
    return made


def table(name: str) -> Table:
    """Return one of the tables."""
    return metadata().tables[name]


def _add_celerys(made: MetaData) -> None:
    from sqlalchemy import Column, DateTime, Integer, LargeBinary, Sequence, String, Table, Text

    Table(
        "celery_taskmeta",
        made,
        Column("id", Integer, Sequence("task_id_sequence"), primary_key=True, autoincrement=True),
        Column("task_id", String(155), unique=True),
        Column("status", String(50)),
        Column("result", LargeBinary(2**32 - 1), nullable=True),
        Column("date_done", DateTime, nullable=True, index=True),
        Column("traceback", Text, nullable=True),
        Column("children", LargeBinary, nullable=True),
        Column("name", String(155), nullable=True),
        Column("args", LargeBinary, nullable=True),
        Column("kwargs", LargeBinary, nullable=True),
        Column("worker", String(155), nullable=True),
        Column("retries", Integer, nullable=True),
        Column("queue", String(155), nullable=True),
        Column("stamps", LargeBinary, nullable=True),
        sqlite_autoincrement=True,
    )
    Table(
        "celery_tasksetmeta",
        made,
        Column("id", Integer, Sequence("taskset_id_sequence"), primary_key=True, autoincrement=True),
        Column("taskset_id", String(155), unique=True),
        Column("result", LargeBinary(2**32 - 1), nullable=True),
        Column("date_done", DateTime, nullable=True, index=True),
        sqlite_autoincrement=True,
    )


def _add_ours(made: MetaData) -> None:
    from sqlalchemy import BigInteger, Column, LargeBinary, String, Table

    def number(name: str, *, default: int | None = None) -> Column[int]:
        return Column(name, BigInteger, nullable=default is None, default=default)

    Table(
        "longshore_chords",
        made,
        Column("group_id", String(155), primary_key=True),
        number("size"),
        number("grown", default=0),
        Column("holder", String(255), nullable=True),
        number("held_until", default=0),
        number("done", default=0),
        number("expires_at", default=0),
    )
    Table(
        "longshore_chord_parts",
        made,
        Column("group_id", String(155), primary_key=True),
        Column("position", BigInteger, primary_key=True, autoincrement=False),
        Column("task_id", String(155), primary_key=True),
        Column("body", LargeBinary(2**32 - 1), nullable=False),
    )
