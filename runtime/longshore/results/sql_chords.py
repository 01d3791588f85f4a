"""Chords and saved groups in a database: one transaction, which locks the chord's row, does what `Progress` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from longshore.core.chord import CLAIM_SECONDS, Counted, Over, Part, Taken, Waiting, Whole, in_order
from longshore.database import Database
from longshore.message import dump_body, load_text
from longshore.results import kept
from longshore.results.sql_tables import table

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

_NO_POSITION = 2**62
_ADDED = -1
"""The position of a row that says which part was added to a chord."""


class SQLChords:
    """The part of the port that is about chords and groups."""

    _database: Database
    _columns: frozenset[str] | None = None

    def _has(self) -> frozenset[str]:
        """Return the columns of the table of results, which another program may have made."""
        if self._columns is None:
            self._columns = self._database.columns("celery_taskmeta")
        return self._columns

    def _is_old(self) -> bool:
        """Whether a Celery before 5.7 made the tables: its clients read pickles only."""
        return "children" not in self._has()

    def start_chords(self, chords: Mapping[str, int], *, anew: bool, expires: float | None) -> None:
        """Note sizes."""

        def work(connection: Connection) -> None:
            now = self._database.now(connection)
            _forget_expired(connection, now)
            for group_id, size in sorted(chords.items()):
                if anew:
                    _forget(connection, group_id)
                self._note(connection, group_id, _until(now, expires))
                _update(connection, group_id, size=size)

        self._database.run(work)

    def grow_chord(self, group_id: str, task_id: str, *, expires: float | None) -> None:
        """Await one more part."""
        from sqlalchemy import select

        rows = table("longshore_chord_parts")
        one = {"group_id": group_id, "position": _ADDED, "task_id": task_id, "body": b""}
        mine = (rows.c.group_id == group_id, rows.c.position == _ADDED, rows.c.task_id == task_id)
        known = select(rows.c.task_id).where(*mine)

        def work(connection: Connection) -> None:
            row = self._note(connection, group_id, _until(self._database.now(connection), expires))
            if connection.execute(known).first() is None:  # the chord's row is locked
                connection.execute(rows.insert().values(one))
                _update(connection, group_id, grown=row["grown"] + 1)

        self._database.run(work)

    def count_parts(self, parts: Sequence[Part], *, expires: float | None) -> list[Counted]:
        """Take in parts, in one transaction."""
        if not parts:
            return []
        order = sorted(range(len(parts)), key=lambda number: parts[number].group_id)

        def work(connection: Connection) -> list[Counted]:
            answers: dict[int, Counted] = {}
            for number in order:  # by group: no two transactions wait for each other in a circle
                answers[number] = self._count(connection, parts[number], expires)
            return [answers[number] for number in range(len(parts))]

        return self._database.run(work)

    def finish_chord(self, group_id: str, claimant: str, *, expires: float | None) -> None:
        """Mark it as over."""
        chords, rows = table("longshore_chords"), table("longshore_chord_parts")

        def work(connection: Connection) -> None:
            until = _until(self._database.now(connection), expires)
            mine = chords.update().where(chords.c.group_id == group_id, chords.c.holder == claimant)
            if connection.execute(mine.values(done=1, expires_at=until)).rowcount:
                connection.execute(rows.delete().where(rows.c.group_id == group_id))

        self._database.run(work)

    def save_group(self, group_id: str, result: Any, *, expires: float | None) -> None:  # noqa: ARG002 - the purge's
        """Keep a group, as Celery 5.7 does; what an older Celery kept is an object that only it can read."""
        groups = table("celery_tasksetmeta")
        row = {"taskset_id": group_id, "result": kept.dump(result, as_pickle=self._is_old()),
               "date_done": datetime.now(UTC).replace(tzinfo=None)}  # fmt: skip

        def work(connection: Connection) -> None:
            connection.execute(groups.delete().where(groups.c.taskset_id == group_id))
            connection.execute(groups.insert().values(row))

        self._database.run(work)

    def restore_group(self, group_id: str) -> Any:
        """Return a kept group."""
        from sqlalchemy import select

        groups = table("celery_tasksetmeta")
        find = select(groups.c.result).where(groups.c.taskset_id == group_id)
        found = self._database.run(lambda connection: connection.execute(find).scalar_one_or_none())
        return kept.load(found, f"group {group_id}")

    def delete_group(self, group_id: str) -> None:
        """Forget a kept group."""
        groups = table("celery_tasksetmeta")
        gone = groups.delete().where(groups.c.taskset_id == group_id)
        self._database.run(lambda connection: connection.execute(gone).rowcount)

    def _note(self, connection: Connection, group_id: str, until: int) -> RowMapping:
        """Return a chord's row, made if it is missing and locked until the transaction ends."""
        from sqlalchemy import select

        chords = table("longshore_chords")
        missing = {"group_id": group_id, "grown": 0, "held_until": 0, "done": 0, "expires_at": until}
        connection.execute(self._database.insert_if_missing(chords).values(missing))
        locked = select(chords).where(chords.c.group_id == group_id).with_for_update()
        row = connection.execute(locked).mappings().one()
        _update(connection, group_id, expires_at=until)
        return row

    def _count(self, connection: Connection, part: Part, expires: float | None) -> Counted:
        from sqlalchemy import func, select

        now = self._database.now(connection)
        chord = self._note(connection, part.group_id, _until(now, expires))
        if chord["done"]:
            return Over()
        rows = table("longshore_chord_parts")
        body = dump_body([part.status, part.result])
        position = _NO_POSITION if part.index is None else part.index
        one = {"group_id": part.group_id, "position": position, "task_id": part.task_id, "body": body}
        connection.execute(self._database.insert_if_missing(rows).values(one))
        mine = (rows.c.group_id == part.group_id) & (rows.c.position != _ADDED)
        count: int = connection.execute(select(func.count()).select_from(rows).where(mine)).scalar_one()
        if chord["size"] is None or count < chord["size"] + chord["grown"]:
            return Waiting()
        if chord["holder"] not in {None, part.claimant} and now < chord["held_until"]:
            return Taken()
        _update(connection, part.group_id, holder=part.claimant, held_until=now + int(CLAIM_SECONDS * 1e6))
        return Whole(in_order(_part(row) for row in connection.execute(select(rows).where(mine)).mappings()))


def _part(row: RowMapping) -> Part:
    status, result = load_text(row["body"])
    position = row["position"]
    return Part(row["group_id"], row["task_id"], None if position == _NO_POSITION else position, status, result)


def _update(connection: Connection, group_id: str, **values: Any) -> None:
    chords = table("longshore_chords")
    connection.execute(chords.update().where(chords.c.group_id == group_id).values(values))


def _forget(connection: Connection, group_id: str) -> None:
    for name in ("longshore_chords", "longshore_chord_parts"):
        each = table(name)
        connection.execute(each.delete().where(each.c.group_id == group_id))


def _forget_expired(connection: Connection, now: int) -> None:
    from sqlalchemy import select

    chords = table("longshore_chords")
    expired = select(chords.c.group_id).where(chords.c.expires_at > 0, chords.c.expires_at <= now).limit(100)
    for group_id in connection.execute(expired).scalars().all():
        _forget(connection, group_id)


def _until(now: int, expires: float | None) -> int:
    return 0 if expires is None else now + int(expires * 1e6)
