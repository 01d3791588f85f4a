"""What is particular to the store on Redis; the rest is in the contract."""

from __future__ import annotations

import pytest

from longshore.exceptions import BackendError
from longshore.stores import open_store

pytestmark = pytest.mark.integration


@pytest.fixture
def store(redis_url):
    store = open_store(redis_url)
    yield store
    store.close()


def test_asking_again_does_not_prolong_it(store, redis_client):
    store.claim_once("tick", "a", expires=60)
    store.claim_once("tick", "a", expires=6000)
    assert redis_client.pttl("longshore:1:store:tick") <= 60_000


def test_trouble_is_an_error_of_the_backend():
    with pytest.raises(BackendError, match="cannot be reached"):
        open_store("redis://127.0.0.1:1/0").claim_once("a", "b", expires=1)
