"""Marks on a real Redis: the first holder has them, until the server's clock says otherwise."""

from __future__ import annotations

import threading
import time

import pytest

from longshore.exceptions import BackendError
from longshore.stores import open_store

pytestmark = pytest.mark.integration


@pytest.fixture
def store(redis_url):
    store = open_store(redis_url)
    yield store
    store.close()


def test_the_first_has_it_and_keeps_it(store):
    assert store.claim_once("tick", "a", expires=60)
    assert not store.claim_once("tick", "b", expires=60)
    assert store.claim_once("tick", "a", expires=60)
    assert store.claim_once("tock", "b", expires=60)


def test_it_is_free_again_when_it_has_expired(store):
    assert store.claim_once("tick", "a", expires=0.05)
    deadline = time.monotonic() + 5
    while not store.claim_once("tick", "b", expires=60):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_asking_again_does_not_prolong_it(store, redis_client):
    store.claim_once("tick", "a", expires=60)
    store.claim_once("tick", "a", expires=6000)
    assert redis_client.pttl("longshore:1:store:tick") <= 60_000


def test_of_many_at_once_one_gets_it(store):
    winners: list[str] = []

    def race(name: str) -> None:
        if store.claim_once("tick", name, expires=60):
            winners.append(name)

    threads = [threading.Thread(target=race, args=(str(number),)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1


def test_trouble_is_an_error_of_the_backend():
    with pytest.raises(BackendError, match="cannot be reached"):
        open_store("redis://127.0.0.1:1/0").claim_once("a", "b", expires=1)
