"""Results in a database through SQLAlchemy, in Celery's tables and spelling: Celery clients read ours, we read theirs.

``db+postgresql://…``, ``db+mysql+pymysql://…``, ``db+sqlite:////path.db``. Transactions are READ COMMITTED. The tables
have no column for an expiry: rows older than the worker's `result_expires` are removed by the workers, now and then.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from longshore.database import Database
from longshore.message import dump_body, load_text
from longshore.results import kept
from longshore.results.port import DEFAULT_EXPIRES_SECONDS, ResultBackend, ResultMeta
from longshore.results.sql_chords import SQLChords
from longshore.results.sql_tables import EXTENDED, metadata, table
from longshore.results.waiting import ENDED, poll

if TYPE_CHECKING:
    from sqlalchemy import Connection

PURGE_SECONDS = 3600.0
_AT_ONCE = 500
_ENCODED = ("args", "kwargs")
_ALWAYS = ("task_id", "status", "result", "date_done", "traceback")


def open(url: str) -> ResultBackend:  # noqa: A001 - the name that the registry asks every backend for
    """Return the backend for a ``db+…`` address, not yet connected."""
    return SQLResults(url)


class SQLResults(SQLChords):
    """The port's `ResultBackend`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._database = Database(url, metadata)
        self._purge_at = time.monotonic() + random.random() * PURGE_SECONDS

    def store(self, metas: Sequence[ResultMeta], *, expires: float | None = DEFAULT_EXPIRES_SECONDS) -> None:
        """Store states in one transaction; a SUCCESS stays."""
        if not metas:
            return
        latest = {meta.task_id: meta for meta in _in_order(metas)}
        rows = [self._row(meta) for _, meta in sorted(latest.items())]  # in one order: no two stores wait in a circle
        upsert = _upsert(self._database.dialect, rows[0])
        self._database.run(lambda connection: connection.execute(upsert, rows).rowcount)
        if expires is not None and time.monotonic() >= self._purge_at:
            self._purge_at = time.monotonic() + PURGE_SECONDS
            self.purge(expires)

    def fetch(self, task_ids: Sequence[str]) -> list[ResultMeta | None]:
        """Return the states, with one question for some hundred of them."""
        found: dict[str, ResultMeta] = {}
        for start in range(0, len(task_ids), _AT_ONCE):
            found.update(self._fetch(task_ids[start : start + _AT_ONCE]))
        return [found.get(task_id) for task_id in task_ids]

    def wait(self, task_id: str, timeout: float | None) -> ResultMeta | None:
        """Look until the task has ended."""

        def look() -> ResultMeta | None:
            meta = self.fetch([task_id])[0]
            return meta if meta is not None and meta.status in ENDED else None

        return poll(look, timeout)

    def forget(self, task_ids: Sequence[str]) -> None:
        """Remove the states."""
        tasks = table("celery_taskmeta")
        gone = tasks.delete().where(tasks.c.task_id.in_(list(task_ids)))
        if task_ids:
            self._database.run(lambda connection: connection.execute(gone).rowcount)

    def purge(self, expires: float) -> None:
        """Remove what was stored more than `expires` seconds ago."""
        tasks, groups = table("celery_taskmeta"), table("celery_tasksetmeta")
        before = _now() - timedelta(seconds=expires)

        def work(connection: Connection) -> None:
            connection.execute(tasks.delete().where(tasks.c.date_done < before))
            connection.execute(groups.delete().where(groups.c.date_done < before))

        self._database.run(work)

    def close(self) -> None:
        """Close this process's connections."""
        self._database.close()

    def _row(self, meta: ResultMeta) -> dict[str, Any]:
        row: dict[str, Any] = {
            "task_id": meta.task_id,
            "result": kept.dump(meta.result, as_pickle=self._is_old()),
            "date_done": _now(),
            "traceback": meta.traceback,
        }
        if "children" in self._has():
            row["children"] = dump_body(meta.children) if meta.children else None
        row.update({name: getattr(meta, name) for name in EXTENDED if name in self._has()})
        for name in _ENCODED:
            if name in self._has():
                value = getattr(meta, name)
                row[name] = None if value is None else dump_body(value)
        return {**row, "status": meta.status}

    def _fetch(self, task_ids: Sequence[str]) -> dict[str, ResultMeta]:
        from sqlalchemy import select

        tasks = table("celery_taskmeta")
        optional = [name for name in ("children", *EXTENDED, *_ENCODED) if name in self._has()]
        asked = select(*(tasks.c[name] for name in (*_ALWAYS, *optional))).where(tasks.c.task_id.in_(list(task_ids)))
        rows = self._database.run(lambda connection: connection.execute(asked).mappings().all())
        return {row["task_id"]: _meta(row) for row in rows}


def _meta(row: Mapping[Any, Any]) -> ResultMeta:
    done: datetime | None = row["date_done"]
    return ResultMeta(
        task_id=row["task_id"],
        status=row["status"],
        result=kept.load(row["result"], f"result of task {row['task_id']}"),
        traceback=row["traceback"],
        children=load_text(row["children"]) if row.get("children") is not None else [],
        date_done=done.replace(tzinfo=UTC).isoformat() if done is not None else None,
        **{name: row[name] for name in EXTENDED if name in row},
        **{name: load_text(row[name]) for name in _ENCODED if row.get(name) is not None},
    )


def _in_order(metas: Sequence[ResultMeta]) -> list[ResultMeta]:
    """A SUCCESS last: of several states of a task in one batch it is the one that stays."""
    return sorted(metas, key=lambda meta: meta.status == "SUCCESS")


def _upsert(dialect: str, row: Mapping[str, Any]) -> Any:
    tasks = table("celery_taskmeta")
    named = [name for name in row if name != "task_id"]
    if dialect == "mysql":
        from sqlalchemy import func
        from sqlalchemy.dialects.mysql import insert as mysql_insert

        insert = mysql_insert(tasks)
        kept = tasks.c.status == "SUCCESS"
        # MySQL assigns from left to right, so the status comes last (`_row` says so).
        return insert.on_duplicate_key_update([(n, func.if_(kept, tasks.c[n], insert.inserted[n])) for n in named])
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        base: Any = postgresql_insert(tasks)
    else:
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        base = sqlite_insert(tasks)
    replaced = {name: base.excluded[name] for name in named}
    where = tasks.c.status != "SUCCESS"
    return base.on_conflict_do_update(index_elements=["task_id"], set_=replaced, where=where)


def _now() -> datetime:
    """Naive and UTC, as Celery has it in these tables."""
    return datetime.now(UTC).replace(tzinfo=None)
