"""Behind sentinels: the address is the sentinels', the server is whoever is the primary just now."""

from __future__ import annotations

import threading
import time

import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Outgoing, Owner, QueueSpec
from longshore.brokers.redis import server as server_module
from longshore.brokers.redis import topology
from longshore.brokers.redis.address import parse
from longshore.exceptions import BrokerError, BrokerUnavailable
from longshore.results import open_results
from longshore.results.port import ResultMeta
from tests.brokers.contract import claim_some, ids, message, send, settle
from tests.support.workers import running_worker, wait_for

pytestmark = pytest.mark.integration

DEADLINE = 5.0
GRACE = 1.0
"""How much longer a call may take than its deadline, on a busy machine."""
FAILED_OVER_WITHIN = 15.0


@pytest.fixture
def broker(sentinels):
    broker = open_broker(sentinels.url())
    broker.declare([QueueSpec("q")])
    yield broker
    broker.close()


def test_a_dead_sentinel_is_passed_over(sentinels, broker):
    sentinels._processes[0].kill()
    sentinels._processes[1].kill()
    for _ in range(5):
        broker.close()
        send(broker, "q", "a")
    assert broker.depths(["q"])["q"].ready == 5


def test_an_unknown_master_is_one_sentence(sentinel_url):
    broker = open_broker(sentinel_url.replace("master=tasks", "master=others"))
    with pytest.raises(BrokerUnavailable, match="the primary 'others' is not known now") as caught:
        broker.depths(["q"])
    assert "\n" not in str(caught.value)


def test_no_sentinel_is_one_sentence():
    broker = open_broker("sentinel://127.0.0.1:1,127.0.0.1:2/0?master=tasks")
    with pytest.raises(BrokerUnavailable, match=r"the primary 'tasks' is not known now \(.*cannot be reached"):
        broker.depths(["q"])


def sent_through_a_failover(sentinels, broker, act) -> tuple[list[str], list[float]]:
    """Send one by one while the primary is lost; return what was confirmed, and how long the calls took."""
    confirmed, took = [], []
    old = sentinels.primary()
    ends = time.monotonic() + FAILED_OVER_WITHIN
    number = 0
    act(old)
    while time.monotonic() < ends:
        number += 1
        started = time.monotonic()
        try:
            broker.send([Outgoing("q", message(f"m{number}"))], deadline=2.0)
            confirmed.append(f"m{number}")
        except BrokerError:
            pass
        took.append(time.monotonic() - started)
        if len(confirmed) >= 20 and sentinels.primary() is not old:
            break
    return confirmed, took


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_send_succeeds_or_raises_within_its_deadline_and_what_is_confirmed_is_there(sentinels, broker, how):
    send(broker, "q", "before")
    confirmed, took = sent_through_a_failover(sentinels, broker, lambda server: getattr(server, how)())
    assert len(confirmed) >= 20
    assert max(took) < 2.0 + GRACE
    consumer = broker.consumer(Owner("w", 0), ["q"])
    claimed: set = set()
    while not claimed >= set(confirmed):
        claimed.update(ids(claim_some(consumer, 100)))
    consumer.close()


def test_a_waiting_consumer_goes_on_with_the_new_primary(sentinels, broker):
    consumer = broker.consumer(Owner("w", 0), ["q"])
    found: list = []

    def consume() -> None:
        ends = time.monotonic() + FAILED_OVER_WITHIN + 10
        while not found and time.monotonic() < ends:
            try:
                found.extend(consumer.claim(1, 1.0))
            except BrokerError:
                consumer.abandon()
                time.sleep(0.05)

    thread = threading.Thread(target=consume)
    thread.start()
    try:
        old = sentinels.primary()
        old.kill()
        wait_for("another primary", lambda: sentinels.primary() is not old, FAILED_OVER_WITHIN)
        wait_for("a send", lambda: sends(broker, "a"), FAILED_OVER_WITHIN)
    finally:
        thread.join()
    assert "a" in ids(found)
    settle(consumer, *found)
    consumer.close()


def sends(broker, name: str) -> bool:
    try:
        send(broker, "q", name)
    except BrokerError:
        return False
    return True


def test_a_worker_goes_on_with_the_new_primary(sentinels, broker, tmp_path):
    effects = tmp_path / "effects"
    effects.touch()
    environ = {"EFFECTS": str(effects)}
    options = ("-Q", "q", "-c", "1", "--ack-policy", "late")
    place = {"broker": sentinels.url(), "log": tmp_path / "log"}
    with running_worker("tests.worker.tasks_for_tests:app", *options, **place, environ=environ) as worker:
        worker.ready()
        task(broker, 1)
        wait_for("the first ran", lambda: "innocent 1" in effects.read_text(), 20)
        old = sentinels.primary()
        old.kill()
        wait_for("another primary", lambda: sentinels.primary() is not old, FAILED_OVER_WITHIN)
        wait_for("a send", lambda: tries(broker), FAILED_OVER_WITHIN)
        wait_for("the second ran", lambda: "innocent 2" in effects.read_text(), 20)


def task(broker, number: int) -> None:
    one = message()
    body = b"[[%d], {}, {}]" % number
    headers = {**one.headers, "task": "tests.worker.tasks_for_tests.innocent"}
    broker.send([Outgoing("q", type(one)(body, headers, one.properties))])


def tries(broker) -> bool:
    try:
        task(broker, 2)
    except BrokerError:
        return False
    return True


def test_results_go_the_same_way(sentinel_url):
    results = open_results(sentinel_url)
    results.store([ResultMeta(task_id="a", status="SUCCESS", result=1)])
    assert results.fetch(["a"])[0].result == 1
    results.close()


def test_the_old_primary_is_not_taken_when_a_sentinel_is_behind(standing_sentinels, sentinel_url, monkeypatch):
    """What a sentinel says is checked by the server's own role."""
    primary = standing_sentinels.primary()
    replica = next(server for server in standing_sentinels.servers if server is not primary)
    monkeypatch.setattr(topology, "located", lambda *_: ("127.0.0.1", replica.port))
    monkeypatch.setattr(server_module, "DEADLINE", 0.5)
    broker = open_broker(sentinel_url)
    with pytest.raises(BrokerUnavailable, match="the primary is not one any more"):
        broker.depths(["q"])


def test_the_password_is_not_shown(sentinel_url):
    url = f"{sentinel_url}&sentinel_password=hidden".replace("sentinel://", "sentinel://:hidden@")
    assert "hidden" not in repr(parse(url))
    with pytest.raises(BrokerError) as caught:
        open_broker(url).depths(["q"])
    assert "hidden" not in str(caught.value)
