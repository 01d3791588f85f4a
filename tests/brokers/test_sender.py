"""Group commit: what is handed in together is sent together, and each caller hears of its own message."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from longshore import Longshore
from longshore.brokers.landing import arrival
from longshore.brokers.port import Outgoing, QueueSpec
from longshore.brokers.sender import Sender, all_or_none
from longshore.exceptions import BrokerUnavailable, LongshoreError, MessageError, SendOutcomeUnknown
from longshore.message import Message


def outgoing(name: str) -> Outgoing:
    return Outgoing("q", Message(b"", {"id": name}, {}))


class Broker:
    """Sends when it is let, and remembers in which pieces."""

    def __init__(self) -> None:
        self.let = threading.Semaphore(0)
        self.batches: list[list[str | None]] = []
        self.errors: dict[str | None, LongshoreError] = {}

    def send(self, batch: Sequence[Outgoing], seconds: float) -> None:
        assert 0 < seconds <= 5
        assert self.let.acquire(timeout=5)
        for each in batch:
            if each.message.id in self.errors:
                raise self.errors[each.message.id]
        self.batches.append([each.message.id for each in batch])


def test_what_waits_while_one_is_sent_travels_together() -> None:
    broker = Broker()
    sender = Sender(all_or_none(broker.send))
    first = sender.submit(outgoing("a"), 5)
    while not first.running():
        pass
    others = [sender.submit(outgoing(name), 5) for name in "bcd"]
    broker.let.release(2)
    for future in [first, *others]:
        future.result(5)
    assert broker.batches == [["a"], ["b", "c", "d"]]
    sender.close()


def test_what_is_wrong_with_one_is_its_own_error_and_what_is_wrong_with_the_broker_is_everybodys() -> None:
    broker = Broker()
    broker.errors = {"bad": MessageError("bad"), "away": BrokerUnavailable("away"), "lost": SendOutcomeUnknown("lost")}
    send_each = all_or_none(broker.send)
    broker.let.release(100)
    found = send_each([outgoing(name) for name in ("a", "bad", "b")], 5)
    assert found == [None, broker.errors["bad"], None]
    assert broker.batches == [["a"], ["b"]]
    for name in ("away", "lost"):
        assert send_each([outgoing("c"), outgoing(name)], 5) == [broker.errors[name]] * 2


def test_what_is_cancelled_before_its_turn_is_not_sent_and_a_defect_reaches_the_caller() -> None:
    broker = Broker()
    sender = Sender(all_or_none(broker.send))
    first = sender.submit(outgoing("a"), 5)
    while not first.running():
        pass
    second = sender.submit(outgoing("b"), 5)
    assert second.cancel()
    broker.let.release(2)
    assert first.result(5) is None
    sender.close()
    assert broker.batches == [["a"]]
    broken = Sender(lambda batch, seconds: 1 / 0)  # type: ignore[arg-type,return-value]
    assert isinstance(broken.submit(outgoing("a"), 5).exception(5), ZeroDivisionError)
    broken.close()


def test_a_process_that_ends_sends_first_what_it_was_given(tmp_path: Path) -> None:
    script = f"""
from longshore import Longshore
from longshore.brokers.port import QueueSpec
app = Longshore(broker="sqlite:///{tmp_path}/tasks.db")
app.broker.declare([QueueSpec("celery")])
for n in range(50):
    app.broker.submit(app.outgoing("t", (n,), {{}}))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    app = Longshore("after", broker=f"sqlite:///{tmp_path}/tasks.db", set_as_current=False)
    depth = app.broker.depths(["celery"])["celery"]
    assert depth is not None
    assert depth.ready == 50
    app.close()


def test_a_coroutine_that_is_cancelled_takes_back_what_was_not_sent() -> None:
    broker = Broker()
    sender = Sender(all_or_none(broker.send))

    async def give_up() -> None:
        first = asyncio.ensure_future(arrival(sender.submit(outgoing("a"), 5)))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(arrival(sender.submit(outgoing("b"), 5)))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        broker.let.release(2)
        await first

    asyncio.run(give_up())
    sender.close()
    assert broker.batches == [["a"]]


@pytest.mark.parity("C2")
def test_coroutines_send_together_and_hear_of_their_errors(tmp_path: Path) -> None:
    app = Longshore("asked", broker=f"sqlite:///{tmp_path}/tasks.db", set_as_current=False)

    @app.task(name="add")
    def add(left: int, right: int) -> int:
        return left + right

    async def send_all() -> list[str]:
        results = await asyncio.gather(
            add.adelay(1, 2), add.aapply_async((1, 2), task_id="mine"), app.asend_task("elsewhere", [1], queue="celery")
        )
        with pytest.raises(TypeError, match="missing a required argument"):
            await add.adelay(1)
        return [result.id for result in results]

    app.broker.declare([QueueSpec("celery")])
    sent = asyncio.run(send_all())
    assert {message.id for message in app.broker.peek("celery", 10)} == set(sent)
    assert "mine" in sent
    app.close()
