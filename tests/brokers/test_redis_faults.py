"""What goes wrong with Redis, on real servers: everything ends within its deadline, and no message is lost."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Broker, Consumer, Outgoing, Owner, QueueSpec, Settlement
from longshore.brokers.redis import calls as calls_module
from longshore.brokers.redis import consumer as consumer_module
from longshore.brokers.redis import server as server_module
from longshore.exceptions import (
    BrokerError,
    BrokerFull,
    BrokerRefused,
    BrokerUnavailable,
    ImproperlyConfigured,
    SendOutcomeUnknown,
    UnsupportedByBroker,
)
from longshore.message import Message
from tests.brokers.contract import claim_all, claim_one, claim_some, eventually, ids, message, send
from tests.support.proxy import Proxy
from tests.support.redis import free_port

pytestmark = pytest.mark.integration


@pytest.fixture
def connect():
    """Open brokers that are closed at the end."""
    brokers: list[Broker] = []

    def connect(url: str) -> Broker:
        brokers.append(open_broker(url))
        return brokers[-1]

    yield connect
    for broker in brokers:
        broker.close()


@pytest.fixture
def short_deadlines(monkeypatch):
    monkeypatch.setattr(consumer_module, "DEADLINE", 0.5)
    monkeypatch.setattr(calls_module, "DEADLINE", 0.5)
    monkeypatch.setattr(server_module, "DEADLINE", 0.5)


@pytest.fixture
def proxy(redis_server):
    with Proxy(redis_server.port) as proxy:
        yield proxy


def url_of(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


def consume(broker: Broker, slot: int = 0) -> Consumer:
    return broker.consumer(Owner("w", slot), ["q"])


# -- addresses and rights --------------------------------------------------------------------------------------------


def test_a_wrong_password_is_refused_at_once_and_not_shown(new_redis, connect):
    server = new_redis(password="secret")
    broker = connect(server.url().replace("secret", "hidden"))
    for call in (lambda: broker.declare([QueueSpec("q")]), lambda: send(broker, "q", "a"), lambda: consume(broker)):
        with pytest.raises(BrokerRefused, match="check user name and password") as caught:
            call()
        assert "hidden" not in str(caught.value)
    with pytest.raises(BrokerRefused, match="user name and password"):
        connect(f"redis://127.0.0.1:{server.port}/0").declare([QueueSpec("q")])
    connect(server.url()).declare([QueueSpec("q")])


def test_nobody_there_is_said_within_a_second_or_two(connect):
    broker = connect(f"redis://127.0.0.1:{free_port()}/0")
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="cannot be reached: Connection refused"):
        send(broker, "q", "a")
    assert time.monotonic() - started < 2.5


def test_no_such_host_is_said(connect):
    with pytest.raises(BrokerUnavailable, match=r"no such host as 'redis.invalid'"):
        connect("redis://redis.invalid/0").depths(["q"])


def test_a_database_that_the_server_does_not_have_is_refused(redis_server, connect):
    with pytest.raises(BrokerRefused, match="DB index is out of range"):
        connect(redis_server.url(database=99)).depths(["q"])


def test_missing_rights_are_named(new_redis, connect):
    server = new_redis()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "u", "on", ">secret", "~*", "+@all", "-evalsha")
    broker = connect(f"redis://u:secret@127.0.0.1:{server.port}/0")
    with pytest.raises(BrokerRefused, match=r"does not permit.*evalsha"):
        broker.depths(["q"])


def test_without_the_right_to_unblock_a_consumer_waits_all_the_same(new_redis, connect):
    server = new_redis()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "u", "on", ">secret", "~*", "+@all", "-client|unblock")
    broker = connect(f"redis://u:secret@127.0.0.1:{server.port}/0?lease_seconds=1")
    consumer = consume(broker)
    assert consumer.claim(1, 0.2) == []
    send(broker, "q", "a")
    assert ids([claim_one(consumer)]) == ["a"]
    consumer.close()


def test_an_evicting_server_is_refused_at_start_up(new_redis, connect):
    server = new_redis("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    broker = connect(server.url())
    for call in (lambda: broker.declare([QueueSpec("q")]), lambda: consume(broker)):
        with pytest.raises(BrokerRefused, match=r"allkeys-lru, which would drop tasks.*noeviction"):
            call()


def test_a_queue_type_that_redis_does_not_have_is_an_error(redis_url, connect):
    with pytest.raises(UnsupportedByBroker, match="no Quorum queues"):
        connect(redis_url).declare([QueueSpec("q", type="Quorum")])


def test_a_consumer_of_nothing_is_an_error(redis_url, connect):
    with pytest.raises(ImproperlyConfigured, match="at least one queue"):
        connect(redis_url).consumer(Owner("w", 0), [])


def test_a_key_of_another_kind_in_the_way_is_said(redis_url, redis_client, connect):
    redis_client.set("q", "not a list")
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        send(connect(redis_url), "q", "a")


# -- a server in trouble ---------------------------------------------------------------------------------------------


def test_out_of_memory_nothing_is_taken_and_what_is_there_can_be_worked_off(new_redis, connect):
    server = new_redis("--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
    broker = connect(server.url())
    large = Message(b"x" * 50_000, {"id": "large"}, {"correlation_id": "large"})
    sent = fill_up(broker, large)
    with pytest.raises(BrokerFull, match="out of memory"):
        broker.send([Outgoing("q", large), Outgoing("other", large)])
    assert broker.depths(["q", "other"])["q"].ready == sent
    assert broker.depths(["other"])["other"] is None
    consumer = consume(broker)
    worked = 0
    while worked < sent:
        for claim in claim_some(consumer, 5):
            consumer.settle(Settlement(claim, sends=(Outgoing("q.dead", message("small")),)))
            worked += 1
    assert consumer.claim(1, 0.1) == []
    consumer.close()
    assert broker.depths(["q.dead"])["q.dead"].ready == sent


def fill_up(broker: Broker, one: Message) -> int:
    """Send until the server takes no more; return how many it took."""
    for sent in range(1000):
        try:
            broker.send([Outgoing("q", one)])
        except BrokerFull:
            return sent
    raise AssertionError("the server never was full")


def test_an_idle_consumer_waits_calmly_while_memory_is_short(new_redis, connect):
    server = new_redis("--maxmemory", "1", "--maxmemory-policy", "noeviction")
    broker = connect(server.url())
    consumer = consume(broker)
    with server.client() as client:
        before = client.info("commandstats").get("cmdstat_blmove", {"calls": 0})["calls"]
        assert consumer.claim(1, 0.6) == []
        assert client.info("commandstats")["cmdstat_blmove"]["calls"] - before <= 5
    consumer.close()


def test_a_replica_is_not_taken_for_a_primary(new_redis, connect):
    primary = new_redis("--repl-diskless-sync-delay", "0")
    replica = new_redis("--replicaof", "127.0.0.1", str(primary.port), "--repl-diskless-sync-delay", "0")
    broker = connect(replica.url())
    eventually(lambda: replica.client().info("replication")["master_link_status"] == "up")
    with pytest.raises(BrokerUnavailable, match="read-only replica"):
        broker.send([Outgoing("q", message("a"))], deadline=0.3)


@pytest.mark.usefixtures("short_deadlines")
def test_a_server_that_hangs_ends_every_call_within_its_deadline(new_redis, connect):
    server = new_redis()
    broker = connect(server.url())
    consumer = consume(broker)
    send(broker, "q", "a")
    server.freeze()
    try:
        for call, error in (
            (lambda: broker.send([Outgoing("q", message("b"))], deadline=0.3), SendOutcomeUnknown),
            (lambda: broker.depths(["q"]), BrokerUnavailable),
            (lambda: consumer.claim(1, 0), BrokerUnavailable),
        ):
            started = time.monotonic()
            with pytest.raises(error, match="in time"):
                call()
            assert time.monotonic() - started < 1.5
    finally:
        server.thaw()
    assert ids([claim_one(consumer)]) == ["a"]
    consumer.close()


def test_forgotten_scripts_are_loaded_again(redis_url, redis_client, connect):
    broker = connect(redis_url)
    consumer = consume(broker)
    for number in range(3):
        redis_client.script_flush()
        send(broker, "q", str(number))
        consumer.settle(Settlement(claim_one(consumer)))
        redis_client.script_flush()
        assert consumer.flush() == 0
    redis_client.script_flush()
    assert consumer.claim(1, 0.1) == []
    assert broker.depths(["q"])["q"] is None
    consumer.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restarted_server_loses_nothing_and_its_consumer_goes_on(new_redis, connect, how):
    """What was settled is settled once the server is back; what was held and abandoned after the error comes again."""
    server = new_redis("--appendonly", "yes", "--appendfsync", "always")
    broker = connect(server.url("lease_seconds=3"))
    broker.declare([QueueSpec("q")])
    consumer = consume(broker)
    send(broker, "q", "a", "b", "c")
    held = claim_all(consumer, 2)
    consumer.settle(Settlement(held[0], sends=(Outgoing("q", message("retry")),)))
    getattr(server, how)()
    with pytest.raises(BrokerUnavailable):
        consumer.flush()
    consumer.abandon()
    with pytest.raises(BrokerError):
        broker.send([Outgoing("q", message("d"))], deadline=0.2)
    server.start()
    send(broker, "q", "e")
    claims = claim_all(consumer, 4)
    assert sorted((str(claim.message.id), claim.deliveries, claim.redelivered) for claim in claims) == [
        ("b", 0, True),
        ("c", 0, False),
        ("e", 0, False),
        ("retry", 0, False),
    ]
    consumer.settle(Settlement(held[1]))
    assert consumer.flush() == 1
    for claim in claims:
        consumer.settle(Settlement(claim))
    assert consumer.flush() == 0
    depth = broker.depths(["q"])["q"]
    assert (depth.ready, depth.leased) == (0, 0)
    consumer.close()


def test_a_restart_that_nobody_notices_costs_no_claim(new_redis, connect):
    server = new_redis("--appendonly", "yes", "--appendfsync", "always")
    broker = connect(server.url())
    consumer = consume(broker)
    send(broker, "q", "long task")
    claim = claim_one(consumer)
    server.kill()
    server.start()
    consumer.settle(Settlement(claim))
    assert consumer.flush() == 0
    consumer.close()


def test_a_send_waits_for_a_server_that_is_restarted(new_redis, connect):
    server = new_redis("--appendonly", "yes")
    broker = connect(server.url())
    send(broker, "q", "a")
    server.stop()
    starter = subprocess.Popen(["sleep", "0.3"])  # something to wait for in another process
    thread = threading.Thread(target=lambda: (starter.wait(), server.start()))
    thread.start()
    send(broker, "q", "b")
    thread.join()
    assert [seen.id for seen in broker.peek("q", 5)] == ["a", "b"]


# -- answers that are lost -------------------------------------------------------------------------------------------


def test_claims_whose_answer_was_lost_come_again(proxy, redis_url, connect):
    direct, broker = connect(redis_url), connect(url_of(proxy))
    consumer = consume(broker)
    send(direct, "q", "held")
    held = claim_one(consumer)
    send(direct, "q", "a", "b")
    proxy.lose_answers.set()
    assert ids(claim_all(consumer, 2)) == ["a", "b"]
    assert not proxy.lose_answers.is_set()
    consumer.settle(Settlement(held))
    assert consumer.flush() == 0
    assert direct.depths(["q"])["q"].leased == 2
    consumer.close()


def test_a_settlement_whose_answer_was_lost_happens_once(proxy, redis_url, connect):
    direct, broker = connect(redis_url), connect(url_of(proxy))
    consumer = consume(broker)
    send(direct, "q", "a")
    consumer.settle(Settlement(claim_one(consumer), sends=(Outgoing("next", message("callback")),)))
    proxy.lose_answers.set()
    assert consumer.flush() == 0
    assert not proxy.lose_answers.is_set()
    depths = direct.depths(["q", "next"])
    assert (depths["next"].ready, depths["q"]) == (1, None)
    consumer.close()


def test_an_early_acknowledgement_whose_answer_was_lost_does_not_start_the_task(proxy, redis_url, connect):
    direct, broker = connect(redis_url), connect(url_of(proxy))
    consumer = consume(broker)
    send(direct, "q", "a", "b")
    consumer.acknowledge_now([claim_one(consumer)])  # from now on the server knows the script
    claim = claim_one(consumer)
    proxy.lose_answers.set()
    with pytest.raises(BrokerError, match="lost before it was acknowledged"):
        consumer.acknowledge_now([claim])
    consumer.close()


def test_a_send_whose_answer_was_lost_is_repeated_with_the_same_id(proxy, redis_url, connect):
    direct, broker = connect(redis_url), connect(url_of(proxy))
    send(broker, "q", "a")
    proxy.lose_answers.set()
    send(broker, "q", "b")
    assert [seen.id for seen in direct.peek("q", 10)] == ["a", "b", "b"]


def test_cut_connections_are_replaced_without_a_word(proxy, redis_url, connect):
    broker = connect(url_of(proxy))
    consumer = consume(broker)
    for number in range(3):
        send(broker, "q", str(number))
        proxy.cut()
        assert ids([claim_one(consumer)]) == [str(number)]
    proxy.cut()
    consumer.close()
    assert broker.depths(["q"])["q"].ready == 3


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificates(tmp_path):
    """A certificate of its own authority, for 127.0.0.1."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run([*command, *names], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed (apt-get install openssl)")
    return key, certificate


def test_tls_works_where_the_certificate_is_trusted_and_only_there(new_redis, connect, certificates):
    key, certificate = certificates
    port = free_port()
    new_redis(
        "--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
        "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no",
    )  # fmt: skip
    trusting = connect(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}")
    trusting.declare([QueueSpec("q")])
    consumer = consume(trusting)
    assert consumer.claim(1, 0.1) == []
    send(trusting, "q", *map(str, range(50)))
    assert len(claim_all(consumer, 50)) == 50
    consumer.close()
    connect(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none").depths(["q"])
    with pytest.raises(BrokerRefused, match=r"TLS failed.*CERTIFICATE_VERIFY_FAILED"):
        connect(f"rediss://127.0.0.1:{port}/0").depths(["q"])
    with pytest.raises(BrokerRefused, match="TLS failed"):
        connect(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs=/nowhere.pem").depths(["q"])


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_file_descriptors_do_not_leak(redis_url, connect):
    broker = connect(redis_url)
    send(broker, "q", "a")

    def cycle() -> None:
        consumer = consume(broker)
        consumer.claim(1, 0.03)
        consumer.close()

    cycle()
    before = open_descriptors()
    for _ in range(5):
        cycle()
    assert open_descriptors() == before
