"""What is particular to the store in an SQLite file; the rest is in the contract."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from longshore.brokers.port import QueueSpec
from longshore.brokers.registry import open_broker
from longshore.exceptions import BackendError
from longshore.stores import open_store
from longshore.stores.port import Store


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = open_store(url)
    yield store
    store.close()


def test_the_file_may_be_the_brokers(store: Store, url: str) -> None:
    broker = open_broker(url)
    broker.declare([QueueSpec("orders")])
    assert store.claim_once("tick", "a", expires=60)
    assert broker.depths(["orders"])["orders"] is not None
    broker.close()


def test_a_missing_folder_is_one_clear_line() -> None:
    with pytest.raises(BackendError, match="folder /nowhere/at/all does not exist"):
        open_store("sqlite:////nowhere/at/all/state.db").claim_once("tick", "a", expires=60)


def test_a_file_of_an_older_version_gains_what_is_missing(store: Store, tmp_path: Path) -> None:
    assert store.claim_once("tick", "a", expires=60)
    store.close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        for table in ("locks", "turns", "notes", "counts", "counted"):
            connection.execute(f"DROP TABLE {table}")
    connection.close()
    newer = open_store(store.url)
    assert newer.acquire("report", "a", expires=60) == 0.0
    assert not newer.claim_once("tick", "b", expires=60)
    newer.close()


def test_expired_rows_leave_the_file(store: Store, tmp_path: Path) -> None:
    for number in range(20):
        store.acquire(f"report:{number}", "a", expires=0.001)
        store.count(f"chord:{number}", "a", expires=0.001)
        store.claim_once(f"tick:{number}", "a", expires=0.001)
    time.sleep(0.01)
    store.acquire("last", "a", expires=60)
    store.count("last", "a", expires=60)
    with sqlite3.connect(tmp_path / "state.db") as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("locks", "counts", "counted")
        ]
    connection.close()
    assert max(counts) <= 2
