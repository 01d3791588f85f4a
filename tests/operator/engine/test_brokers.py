"""Brokers are asked in threads of their own: one that is dead or hangs delays nobody else, and no password is said."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Broker, Outgoing, QueueSpec
from longshore.core.protocol import build_message
from longshore_operator.engine import brokers
from longshore_operator.engine.brokers import BrokerFailure, BrokerHub, Measurement


class Hanging:
    """A broker whose calls do not return: the one thing that a real one does not do on command."""

    def __init__(self, release: threading.Event) -> None:
        self.release = release

    def depths(self, queues: Sequence[str]) -> Any:
        self.release.wait(30)
        raise OSError("ended")

    def close(self) -> None:
        pass


@pytest.fixture
async def release() -> AsyncIterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
async def hub(release: threading.Event) -> AsyncIterator[tuple[BrokerHub, list[str]]]:
    changes: list[str] = []

    def opened(url: str) -> Broker:
        return Hanging(release) if url.startswith("hang:") else open_broker(url)  # type: ignore[return-value]

    found = BrokerHub(opened, changes.append, clock=lambda: 0.0, measure_seconds=0.05)
    yield found, changes
    await found.close()


async def until(check: Any, within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not check():  # noqa: ASYNC110 - what is waited for happens in threads
            await asyncio.sleep(0.01)


async def test_watched_queues_are_measured_and_changes_are_told(
    hub: tuple[BrokerHub, list[str]], tmp_path: Path
) -> None:
    watched, changes = hub
    url = f"sqlite:///{tmp_path}/tasks.db"
    await watched.call(url, lambda broker: broker.declare([QueueSpec("orders")]))
    watched.watch("me", url, ["orders", "nowhere"])
    await until(lambda: isinstance(watched.latest(url), Measurement))
    told = len(changes)
    await asyncio.sleep(0.3)
    assert len(changes) == told, "nothing changed, nothing is told"
    message = Outgoing("orders", build_message("t", [], {}, task_id="1"))
    await watched.call(url, lambda broker: broker.send([message]))
    await until(lambda: len(changes) > told)
    latest = watched.latest(url)
    assert isinstance(latest, Measurement)
    depth = latest.depths["orders"]
    assert depth is not None
    assert depth.ready == 1
    assert watched.watchers(url) == ["me"]


async def test_what_nobody_watches_is_not_measured(hub: tuple[BrokerHub, list[str]], tmp_path: Path) -> None:
    watched, _ = hub
    url = f"sqlite:///{tmp_path}/tasks.db"
    watched.watch("me", url, ["orders"])
    await until(lambda: watched.latest(url) is not None)
    watched.unwatch("me")
    assert watched.latest(url) is None
    await until(lambda: not any(thread.name.endswith("tasks.db") for thread in threading.enumerate()))


async def test_a_hanging_broker_delays_nobody(
    hub: tuple[BrokerHub, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "CALL_DEADLINE_SECONDS", 0.3)
    watched, _ = hub
    url = f"sqlite:///{tmp_path}/tasks.db"
    stuck = asyncio.create_task(watched.call("hang://here", lambda broker: broker.depths(["q"])))
    await asyncio.sleep(0)
    await asyncio.wait_for(watched.call(url, lambda broker: broker.workers()), 5)
    with pytest.raises(BrokerFailure, match="does not answer within") as caught:
        await stuck
    assert caught.value.reason == "BrokerUnavailable"


@pytest.mark.parametrize(
    ("url", "reason", "words"),
    [
        ("redis://:hunter2@127.0.0.1:1/0", "BrokerUnavailable", "127.0.0.1:1"),
        ("amqp://user:hunter2@127.0.0.1:1//", "BrokerUnavailable", "127.0.0.1:1"),
        ("kafka://user:hunter2@x/", "BrokerUnknown", "unknown scheme"),
    ],
)
async def test_failures_are_reasons_without_passwords(
    hub: tuple[BrokerHub, list[str]], url: str, reason: str, words: str
) -> None:
    watched, _ = hub
    with pytest.raises(BrokerFailure) as caught:
        await watched.call(url, lambda broker: broker.depths(["q"]))
    assert caught.value.reason == reason
    assert words in caught.value.message
    assert "hunter2" not in caught.value.message
    assert not any("hunter2" in thread.name for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("redis://:hunter2@no-such-host/0", "use the Service's full name, no-such-host.NAMESPACE.svc"),
        ("amqp://user:hunter2@no-such-host//", "use the Service's full name, no-such-host.NAMESPACE.svc"),
        ("redis://no-such-host.shop.svc.invalid/0", None),
        ("redis://127.0.0.1:1/0", None),
        ("redis://localhost:1/0", None),
        ("amqp://localhost:1//", None),
    ],
)
async def test_a_short_host_name_that_is_not_known_comes_with_the_way_to_write_it(
    hub: tuple[BrokerHub, list[str]], url: str, hint: str | None
) -> None:
    watched, _ = hub
    with pytest.raises(BrokerFailure) as caught:
        await watched.call(url, lambda broker: broker.depths(["q"]))
    assert caught.value.reason == "BrokerUnavailable"
    assert "hunter2" not in caught.value.message
    assert ("NAMESPACE" in caught.value.message) == (hint is not None)
    assert hint is None or caught.value.message.endswith(hint)


async def test_a_file_that_is_no_database_is_refused_for_good(hub: tuple[BrokerHub, list[str]], tmp_path: Path) -> None:
    watched, _ = hub
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at as one" * 50)
    with pytest.raises(BrokerFailure) as caught:
        await watched.call(f"sqlite:///{tmp_path}/notes.txt", lambda broker: broker.depths(["q"]))
    assert caught.value.reason == "BrokerRefused"
