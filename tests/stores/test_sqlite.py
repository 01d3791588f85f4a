"""Marks in an SQLite file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

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


def test_the_first_holder_gets_the_mark_and_keeps_it(store: Store, url: str) -> None:
    other = open_store(url)
    assert store.claim_once("tick", "a", expires=60)
    assert not other.claim_once("tick", "b", expires=60)
    assert store.claim_once("tick", "a", expires=60), "asking again is fine"
    assert other.claim_once("another", "b", expires=60)
    other.close()


def test_an_expired_mark_is_free(store: Store) -> None:
    assert store.claim_once("tick", "a", expires=0.02)
    time.sleep(0.03)
    assert store.claim_once("tick", "b", expires=60)
    assert not store.claim_once("tick", "a", expires=60)


def test_of_many_at_once_exactly_one_gets_it(url: str) -> None:
    won: list[str] = []

    def claim(holder: str) -> None:
        store = open_store(url)
        if store.claim_once("tick", holder, expires=60):
            won.append(holder)
        store.close()

    threads = [Thread(target=claim, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(won) == 1


def test_the_file_may_be_the_brokers(store: Store, url: str) -> None:
    broker = open_broker(url)
    broker.declare([QueueSpec("orders")])
    assert store.claim_once("tick", "a", expires=60)
    assert broker.depths(["orders"])["orders"] is not None
    broker.close()


def test_a_missing_folder_is_one_clear_line() -> None:
    with pytest.raises(BackendError, match="folder /nowhere/at/all does not exist"):
        open_store("sqlite:////nowhere/at/all/state.db").claim_once("tick", "a", expires=60)
