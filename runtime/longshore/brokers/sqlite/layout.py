"""A connection made ready: the tables in a new file, the settings in every one, and no file that is somebody else's.

Runs behind the gate, before anybody else sees the connection.
"""

from __future__ import annotations

import sqlite3

from longshore.brokers.sqlite import schema
from longshore.exceptions import BrokerRefused

PAGE_BYTES = 4096
CHECKPOINT_PAGES = 1000


def prepare(connection: sqlite3.Connection, path: str, durability: str) -> None:
    """Set the connection up; make the tables in a new file; refuse a file that is somebody else's."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != schema.APPLICATION_ID:
        _create(connection, path)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > schema.VERSION:
        raise BrokerRefused(f"{path} was made by a newer Longshore (its schema is {version}); upgrade this one")
    connection.execute(f"PRAGMA synchronous = {durability}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")


def _create(connection: sqlite3.Connection, path: str) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise BrokerRefused(f"{path} is another program's database; name a file of its own, {path}.tasks for instance")
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise BrokerRefused(
            f"the file system of {path} cannot share memory (no WAL mode); put the file on a local disk"
        )
    connection.executescript(f"BEGIN IMMEDIATE; {schema.TABLES} PRAGMA application_id = {schema.APPLICATION_ID}; "
                             f"PRAGMA user_version = {schema.VERSION}; COMMIT")  # fmt: skip
