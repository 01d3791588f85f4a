"""Real processes that are killed or frozen while they hold claims on Redis: nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Outgoing, Owner, QueueSpec, Settlement
from tests.brokers.contract import claim_one, eventually, message, send

pytestmark = pytest.mark.integration

LEASE = 0.6


@pytest.fixture
def url(redis_server, redis_url):
    return redis_server.url(f"lease_seconds={LEASE}")


@pytest.fixture
def broker(url):
    broker = open_broker(url)
    broker.declare([QueueSpec("q")])
    yield broker
    broker.close()


@pytest.fixture
def child():
    """Run work in forked processes, which are killed at the end."""
    pids: list[int] = []

    def start(work: Callable[[], object]) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                work()
            finally:
                os._exit(0)
        pids.append(pid)
        return pid

    yield start
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def work(url: str, slot: int, effects: Path, batch: int) -> None:
    """A worker of short tasks: each one's effect is a line; settlements leave with the next claim."""
    consumer = open_broker(url).consumer(Owner("w", slot), ["q"])
    with effects.open("a") as file:
        while True:
            for claim in consumer.claim(batch, 1.0):
                time.sleep(0.0003)
                os.write(file.fileno(), f"{claim.message.id}\n".encode())
                consumer.settle(Settlement(claim, sends=(Outgoing("next", message(claim.message.id)),)))


@pytest.mark.parametrize("batch", [1, 20])
def test_killed_at_random_points_no_task_is_lost_and_few_are_done_twice(broker, url, child, tmp_path, batch):
    """Half of the kills are seen by a supervisor, the others only by the lease."""
    chance = random.Random(batch)
    effects = tmp_path / "effects"
    effects.touch()
    names = [str(number) for number in range(1500)]
    send(broker, "q", *names[:100])
    broker.send([Outgoing("q", message(name)) for name in names[100:]])
    kills, given_back = 10, 0
    for slot in range(kills):
        pid = child(lambda: work(url, slot, effects, batch))  # noqa: B023 - runs at once, in a fork
        before = effects.stat().st_size
        eventually(lambda: effects.stat().st_size > before or broker.sweep(["q"]) < 0 or done(effects, names))  # noqa: B023
        time.sleep(chance.uniform(0, 0.01))
        kill(pid)
        if chance.random() < 0.5:
            given_back += broker.release_owner(Owner("w", slot), ["q"], started=[])
    assert given_back > 0, "nobody was killed while it held claims"
    child(lambda: work(url, kills, effects, batch))
    eventually(lambda: broker.sweep(["q"]) >= 0 and done(effects, names), deadline=30)
    lines = effects.read_text().split()
    assert set(lines) == set(names)
    assert len(lines) - len(names) <= kills * batch
    eventually(lambda: broker.depths(["q"])["q"].leased == 0)
    depths = broker.depths(["q", "next"])
    assert (depths["q"].ready, depths["next"].ready) == (0, len(names)), "settled and sent are one: each exactly once"


def done(effects: Path, names: list[str]) -> bool:
    return len(set(effects.read_text().split())) == len(names)


def test_a_waiting_process_that_is_killed_takes_no_message_with_it(broker, url, child, tmp_path):
    """The server may serve its blocked socket before it sees it closed: what it moved is back with the lease."""
    rescuer = broker.consumer(Owner("rescuer", 0), ["q"])
    for number in range(8):
        pid = child(lambda: work(url, number, tmp_path / "effects", 1))  # noqa: B023
        await_waiters(broker, 1)
        os.kill(pid, signal.SIGKILL)
        send(broker, "q", str(number))
        os.waitpid(pid, 0)
        eventually(lambda: (broker.sweep(["q"]) >= 0 and rescued(rescuer)) or done_by(tmp_path / "effects", number))  # noqa: B023
        await_waiters(broker, 0)
    rescuer.close()


def rescued(rescuer) -> bool:
    claims = rescuer.claim(1, 0)
    for claim in claims:
        assert claim.deliveries == 0
        rescuer.settle(Settlement(claim))
    rescuer.flush()
    return bool(claims)


def done_by(effects: Path, number: int) -> bool:
    return effects.exists() and str(number) in effects.read_text().split()


def await_waiters(broker, count: int) -> None:
    import redis

    with redis.Redis(port=broker._address.port, protocol=2) as client:
        eventually(lambda: client.info("clients")["blocked_clients"] == count)


def test_a_frozen_waiter_may_get_one_message_and_it_is_back_with_the_lease(broker, url, child, tmp_path):
    pid = child(lambda: work(url, 0, tmp_path / "effects", 1))
    await_waiters(broker, 1)
    os.kill(pid, signal.SIGSTOP)
    send(broker, "q", "a")
    eventually(lambda: broker.depths(["q"])["q"].leased == 1)
    started = time.monotonic()
    eventually(lambda: broker.sweep(["q"]) == 1)
    assert time.monotonic() - started < LEASE + 0.5
    other = broker.consumer(Owner("other", 0), ["q"])
    claim = claim_one(other)
    assert (claim.message.id, claim.deliveries) == ("a", 0)
    os.kill(pid, signal.SIGCONT)
    other.settle(Settlement(claim))
    assert other.flush() == 0
    await_waiters(broker, 1)
    assert not done_by(tmp_path / "effects", "a")
    other.close()


def test_a_process_that_was_frozen_past_its_lease_cannot_settle(broker, url, child, tmp_path):
    """What it did in the meantime is refused, with all that it wanted to send."""
    told, go = os.pipe(), os.pipe()

    def hold() -> None:
        consumer = open_broker(url).consumer(Owner("w", 0), ["q"])
        claim = claim_one(consumer)
        os.write(told[1], b"h")
        os.read(go[0], 1)
        consumer.settle(Settlement(claim, sends=(Outgoing("next", message("late")),)))
        os.write(told[1], b"0123456789"[consumer.flush() :][:1])

    send(broker, "q", "a")
    pid = child(hold)
    assert os.read(told[0], 1) == b"h"
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: broker.sweep(["q"]) == 1)
    other = broker.consumer(Owner("other", 0), ["q"])
    claim = claim_one(other)
    os.kill(pid, signal.SIGCONT)
    os.write(go[1], b"g")
    assert os.read(told[0], 1) == b"1"
    other.settle(Settlement(claim))
    assert other.flush() == 0
    assert broker.depths(["next"])["next"] is None
    other.close()
    for descriptor in (*told, *go):
        os.close(descriptor)


def test_exactly_the_poison_is_counted_among_innocents(broker, url):
    """Each worker that starts the poison dies with all that it holds; nobody sees which task it was."""
    names = [str(number) for number in range(300)]
    broker.send([Outgoing("q", message(name)) for name in [*names[:150], "poison", *names[150:]]])
    finished: set[str] = set()
    most_deliveries: dict[str, int] = {}
    for slot in range(40):
        consumer = broker.consumer(Owner("w", slot), ["q"])
        if not lives(consumer, finished, most_deliveries):
            eventually(lambda: broker.sweep(["q"]) > 0)
        else:
            consumer.close()
            break
    assert finished == {*names, "poison dead-lettered"}
    assert {name for name, count in most_deliveries.items() if count > 0} == {"poison"}


def lives(consumer, finished: set[str], most: dict[str, int]) -> bool:
    """Work until the queue is empty, or until the poison kills this worker."""
    while claims := claim_soon(consumer):
        for claim in claims:
            name = claim.message.id
            most[name] = max(most.get(name, 0), claim.deliveries)
            if name == "poison" and claim.deliveries < 3:
                return False
            finished.add(name if name != "poison" else "poison dead-lettered")
            consumer.settle(Settlement(claim))
    return True


def claim_soon(consumer):
    return consumer.claim(100, 0.1)
