"""The ways to one server: a socket file, Valkey's name for the scheme, a user of its own; TLS is in the faults."""

from __future__ import annotations

import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Owner, QueueSpec
from longshore.exceptions import BrokerUnavailable
from longshore.results import open_results
from longshore.results.port import ResultMeta
from longshore.stores import open_store
from tests.brokers.contract import claim_one, send

pytestmark = pytest.mark.integration


def works(url: str) -> None:
    """Send, claim, wait, store, mark."""
    broker = open_broker(url)
    broker.declare([QueueSpec("q")])
    send(broker, "q", "a")
    consumer = broker.consumer(Owner("w", 0), ["q"])
    assert claim_one(consumer).message.id == "a"
    assert consumer.claim(1, 0.05) == []
    consumer.close()
    broker.close()
    results, store = open_results(url), open_store(url)
    results.store([ResultMeta(task_id="a", status="SUCCESS")])
    assert results.wait("a", 5).status == "SUCCESS"
    assert store.claim_once("a", "b", expires=5)
    results.close()
    store.close()


@pytest.mark.parametrize("scheme", ["redis+socket", "valkey+socket"])
def test_a_socket_file(new_redis, tmp_path, scheme):
    server = new_redis("--unixsocket", str(tmp_path / "redis.sock"))
    works(f"{scheme}://{tmp_path}/redis.sock?virtual_host=2")
    with server.client(2) as client:
        assert client.keys()
    with server.client(0) as client:
        assert not client.keys()


def test_a_socket_file_that_is_not_there(tmp_path):
    broker = open_broker(f"redis+socket://{tmp_path}/redis.sock")
    with pytest.raises(BrokerUnavailable, match=r"redis\.sock cannot be reached: No such file"):
        broker.depths(["q"])


def test_valkeys_scheme(redis_server, redis_url):
    works(redis_url.replace("redis://", "valkey://"))


def test_a_user_with_a_password_that_needs_escapes(new_redis):
    server = new_redis()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "us@er", "on", ">p/w:d", "~*", "&*", "+@all")
    works(f"redis://us%40er:p%2Fw%3Ad@127.0.0.1:{server.port}/1")
