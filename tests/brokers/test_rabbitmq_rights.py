"""The least rights of the documentation are enough for everything that a worker, an operator and a client do."""

from __future__ import annotations

import shlex
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from threading import Event as Flag
from threading import Thread

import pytest

from longshore.brokers.control import Event, Mail, Names
from longshore.brokers.port import Outgoing, Owner, QueueSpec, Settlement, Started
from longshore.brokers.rabbitmq.control import RabbitMQLine
from longshore.brokers.registry import open_broker
from longshore.exceptions import BrokerRefused
from tests.brokers.contract import claim_all, claim_one, eventually, ids, message, report_of, send, settle
from tests.support.rabbitmq import RabbitMQServer

pytestmark = pytest.mark.integration

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "rabbitmq.md"


@pytest.fixture(scope="module")
def vhost(rabbitmq_server: RabbitMQServer) -> Iterator[str]:
    name = f"shop-{uuid.uuid4().hex[:6]}"
    rabbitmq_server.ctl("add_vhost", name)
    rabbitmq_server.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    yield name
    rabbitmq_server.ctl("delete_vhost", name)


def user_with(server: RabbitMQServer, vhost: str, rights: list[str]) -> str:
    name = f"user-{uuid.uuid4().hex[:6]}"
    server.ctl("add_user", name, "password")
    server.ctl("set_permissions", "-p", vhost, name, *rights)
    return server.url(vhost, user=name, password="password")


def documented() -> list[str]:
    [line] = [line for line in REFERENCE.read_text().splitlines() if line.startswith("rabbitmqctl set_permissions")]
    return shlex.split(line)[-3:]


def test_they_are_enough_for_a_worker_and_an_operator(rabbitmq_server: RabbitMQServer, vhost: str) -> None:
    broker = open_broker(user_with(rabbitmq_server, vhost, documented()))
    broker.declare([QueueSpec("orders"), QueueSpec("orders.dead", "Quorum")])
    send(broker, "orders", *"abcd")
    send(broker, "orders", "late", due_at=time.time() + 0.3)
    consumer = broker.consumer(Owner("w", 0), ["orders"])
    claims = claim_all(consumer, 4, 4)
    consumer.settle(Settlement(claims[0], sends=(Outgoing("orders.dead", message("x")),)))
    consumer.settle(Settlement(claims[1], give_back=True, counted=True))
    consumer.acknowledge_now([claims[2]])
    settle(consumer, claims[3])
    rest = {claim.message.id: claim for claim in (claim_one(consumer), claim_one(consumer))}
    assert {name: claim.deliveries for name, claim in rest.items()} == {"b": 1, "late": 0}
    settle(consumer, *rest.values())
    broker.release_owner(Owner("w", 0), ["orders"], [Started("b", sentence="reason")])
    assert [seen.id for seen in broker.peek("orders.dead", 5)] == ["x"]
    assert broker.depths(["orders", "elsewhere"])["elsewhere"] is None
    consumer.close()
    assert broker.purge("orders.dead") == 1
    broker.delete_queue("orders.dead")
    with pytest.raises(BrokerRefused, match="refuses to declare queue 'elsewhere'"):
        broker.declare([QueueSpec("elsewhere")])
    broker.close()


def test_they_are_enough_for_reports_and_remote_control(rabbitmq_server: RabbitMQServer, vhost: str) -> None:
    url = user_with(rabbitmq_server, vhost, documented())
    worker, operator = open_broker(url), open_broker(url)
    ends = Flag()

    def report() -> None:
        while not ends.wait(0.05):
            worker.report(report_of("w"))

    supervisor = Thread(target=report)
    supervisor.start()
    assert [seen.worker for seen in operator.workers()] == ["w"]
    ends.set()
    supervisor.join()
    worker.close()
    operator.close()
    node, asker, listener = (RabbitMQLine(url, Names()) for _ in range(3))
    node.hear_commands("w@host")
    asker.hear_replies("asker")
    listener.hear_events("flower")
    asker.command({"method": "ping"}, {})
    [asked] = heard(node)
    node.reply(Names().replies_exchange, "asker", {"ok": "pong"}, {"ticket": "t"})
    node.publish([Event("worker.online", {"type": "worker-online"}, {})])
    assert (asked.body["method"], heard(asker)[0].body) == ("ping", {"ok": "pong"})
    assert heard(listener)
    for line in (node, asker, listener):
        line.close()


def heard(line: RabbitMQLine) -> list[Mail]:
    mails: list[Mail] = []
    eventually(lambda: mails.extend(line.receive(0.2)) or mails)
    return mails


def test_a_client_needs_less(rabbitmq_server: RabbitMQServer, vhost: str) -> None:
    owner = open_broker(rabbitmq_server.url(vhost))
    owner.declare([QueueSpec("orders")])
    ladder = r"^longshore\.delay\..*$"
    writes = r"^(amq\.default|orders|longshore\.delay\..*)$"
    assert all(rights in REFERENCE.read_text() for rights in (ladder, writes))
    client = open_broker(user_with(rabbitmq_server, vhost, [ladder, writes, ladder]))
    send(client, "orders", "a")
    send(client, "orders", "late", due_at=time.time() + 0.2)
    least = open_broker(user_with(rabbitmq_server, vhost, ["^$", r"^amq\.default$", "^$"]))
    send(least, "orders", "b")
    eventually(lambda: (owner.depths(["orders"])["orders"]).ready == 3)  # type: ignore[union-attr]
    consumer = owner.consumer(Owner("w", 0), ["orders"])
    assert sorted(map(str, ids(claim_all(consumer, 3)))) == ["a", "b", "late"]
    consumer.close()
    for each in (owner, client, least):
        each.close()
