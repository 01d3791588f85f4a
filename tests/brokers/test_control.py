"""Remote control over each broker: commands reach every node, replies their asker, events every listener."""

from __future__ import annotations

import os
import time

import pytest

from longshore.brokers import open_broker
from longshore.brokers.control import Event, Names, open_control
from longshore.brokers.port import Outgoing, Owner, QueueSpec
from tests.brokers.contract import claim_some, message
from tests.support.workers import wait_for


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("redis", marks=pytest.mark.integration),
        pytest.param("redis_cluster", marks=pytest.mark.integration),
        pytest.param("rabbitmq", marks=pytest.mark.integration),
        pytest.param("redis_cluster", marks=pytest.mark.integration),
    ]
)
def url(request, tmp_path):
    if request.param == "redis_cluster":
        cluster = request.getfixturevalue("redis_cluster")
        cluster.empty()
        return cluster.url()
    return (
        f"sqlite:///{tmp_path}/b.db" if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")
    )


@pytest.fixture
def lines(url):
    opened = []

    def line(names=None):
        opened.append(open_control(url, names))
        return opened[-1]

    yield line
    for one in opened:
        one.close()


def received(line, count=1):
    mails = []
    wait_for(f"{count} mails", lambda: mails.extend(line.receive(0.2)) or len(mails) >= count, 10)
    return mails


def test_a_command_reaches_every_node_and_the_reply_its_asker(lines):
    one, two, asker = lines(), lines(), lines()
    one.hear_commands("w1@host")
    two.hear_commands("w2@host")
    asker.hear_replies("0b5f8a3e-asker")
    asker.command({"method": "ping", "arguments": {}}, {"clock": 3})
    for node in (one, two):
        [mail] = received(node)
        assert mail.body["method"] == "ping"
        assert mail.headers["clock"] == 3
        node.reply(Names().replies_exchange, "0b5f8a3e-asker", {"ok": "pong"}, {"ticket": "t"})
    replies = received(asker, 2)
    assert [(mail.body, mail.headers["ticket"]) for mail in replies] == [({"ok": "pong"}, "t")] * 2


def test_events_reach_every_listener_alone_and_in_batches(lines):
    listeners = [lines(), lines()]
    for number, listener in enumerate(listeners):
        listener.hear_events(f"listener{number}")
    lines().publish(
        [Event("worker.online", {"type": "worker-online"}, {"hostname": "w"}), Event("task.multi", [{"type": "x"}], {})]
    )
    for listener in listeners:
        assert [mail.body for mail in received(listener, 2)] == [{"type": "worker-online"}, [{"type": "x"}]]


def test_nobody_waits_for_a_reply_any_more(lines):
    node = lines()
    node.hear_commands("w@host")
    node.reply(Names().replies_exchange, "nobody", {"ok": "pong"}, {})
    node.command({"method": "still there"}, {})
    assert received(node)[0].body == {"method": "still there"}


def test_a_large_reply_arrives_whole(lines):
    asker, node = lines(), lines()
    asker.hear_replies("asker")
    node.reply(Names().replies_exchange, "asker", ["x" * 1000] * 1000, {})
    assert len(received(asker)[0].body) == 1000


def test_a_wake_descriptor_ends_the_wait(lines):
    node = lines()
    node.hear_commands("w@host")
    read, write = os.pipe()
    os.write(write, b"!")
    began = time.monotonic()
    assert node.receive(20, read) == []
    assert time.monotonic() - began < 5
    os.close(read)
    os.close(write)


def test_two_nodes_of_one_name_both_hear(lines):
    one, two = lines(), lines()
    one.hear_commands("same@host")
    two.hear_commands("same@host")
    two.command({"method": "ping"}, {})
    assert received(one)
    assert received(two)


def test_delayed_messages_are_seen_and_stay(lines, url):
    broker = open_broker(url)
    broker.declare([QueueSpec("orders"), QueueSpec("other")])
    soon, late = time.time() + 60, time.time() + 3600
    broker.send(
        [_delayed("orders", "late", late), _delayed("orders", "soon", soon), _delayed("other", "not mine", soon)]
    )
    for _ in range(2):
        waiting = lines().delayed(["orders"], 10)
        assert [(each.message.id, each.queue) for each in waiting] == [("soon", "orders"), ("late", "orders")]
        assert waiting[0].due_at == pytest.approx(soon, abs=1)
    broker.purge("orders")
    broker.close()


def _delayed(queue, name, due_at):
    eta = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(due_at))
    return Outgoing(queue, message(name).with_headers({"eta": eta}), due_at)


def test_what_a_worker_holds_is_seen_where_the_broker_knows(lines, url):
    broker = open_broker(url)
    broker.declare([QueueSpec("orders")])
    broker.send([Outgoing("orders", message(name)) for name in "ab"])
    consumer = broker.consumer(Owner("w", 1), ["orders"])
    claim_some(consumer, 2)
    held = lines().held("w", ["orders"])
    if broker.capabilities.counts_leased:
        assert sorted((queue, each.id) for queue, each in held) == [("orders", "a"), ("orders", "b")]
        assert lines().held("another", ["orders"]) == []
    else:
        assert held is None
    consumer.close()
    broker.purge("orders")
    broker.close()
