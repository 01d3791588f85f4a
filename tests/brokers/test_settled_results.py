"""Results that are stored with their settlement, in one transaction, where broker and results are one server."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from longshore.brokers import open_broker
from longshore.brokers.port import Broker, Outgoing, Owner, QueueSpec, Settlement
from longshore.results import open_results
from longshore.results.port import ResultBackend, ResultMeta
from tests.brokers.contract import claim_all, claim_one, ids, message, send


@dataclass
class Bench:
    broker: Broker
    results: ResultBackend

    def consumer(self, slot: int = 0):
        return self.broker.consumer(Owner("w", slot), ["q"], results=self.results)

    def stored(self, task_id: str) -> ResultMeta | None:
        return self.results.fetch([task_id])[0]


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("redis", marks=pytest.mark.integration),
        pytest.param("redis, another database", marks=pytest.mark.integration),
    ]
)
def bench(request, tmp_path):
    if request.param == "sqlite":
        url = results_url = f"sqlite:///{tmp_path}/broker.db"
    else:
        server = request.getfixturevalue("redis_server")
        url, results_url = request.getfixturevalue("redis_url"), server.url(database=3)
    if request.param == "redis":
        results_url = url
    bench = Bench(open_broker(url), open_results(results_url))
    bench.broker.declare([QueueSpec("q")])
    bench.results.forget(["a", "b", "c"])
    yield bench
    bench.results.close()
    bench.broker.close()


def meta(task_id: str, result: object = 42, status: str = "SUCCESS") -> ResultMeta:
    return ResultMeta(task_id=task_id, status=status, result=result, date_done="2026-11-21T12:00:00+00:00")


def ended(claim, result: object = 42, expires: float | None = 60, **options) -> Settlement:
    return Settlement(claim, result=meta(str(claim.message.id), result), result_expires=expires, **options)


def test_the_result_is_there_when_the_claim_is_gone(bench):
    assert bench.broker.settles_results_of(bench.results)
    consumer = bench.consumer()
    send(bench.broker, "q", "a", "b", "c")
    for claim, result in zip(claim_all(consumer, 3), (None, {"deep": [1, 2.5, "ä"]}, 2**70), strict=True):
        consumer.settle(ended(claim, result))
    assert consumer.flush() == 0
    assert [stored.result for stored in bench.results.fetch(["a", "b", "c"])] == [None, {"deep": [1, 2.5, "ä"]}, 2**70]
    assert bench.stored("a").date_done == "2026-11-21T12:00:00+00:00"
    depth = bench.broker.depths(["q"])["q"]
    assert (depth.ready, depth.leased) == (0, 0)
    consumer.close()


def test_a_retry_stores_its_state_and_sends_the_next_try(bench):
    consumer = bench.consumer()
    send(bench.broker, "q", "a")
    claim = claim_one(consumer)
    consumer.settle(Settlement(claim, (Outgoing("q", message("again")),), result=meta("a", None, "RETRY")))
    assert ids([claim_one(consumer)]) == ["again"]
    assert bench.stored("a").status == "RETRY"
    consumer.close()


def test_whose_claim_is_lost_stores_nothing(bench):
    """A worker that was frozen past its lease comes back, while another one runs the task."""
    frozen = bench.consumer()
    send(bench.broker, "q", "a", "b")
    first, second = claim_all(frozen, 2)
    bench.broker.release_owner(Owner("w", 0), ["q"], [])
    frozen.settle(ended(first))
    frozen.settle(ended(second, sends=(Outgoing("dead", message("letter")),)))
    assert frozen.flush() == 2
    assert bench.results.fetch(["a", "b"]) == [None, None]
    assert not bench.broker.peek("dead", 1)


def test_a_stored_success_stays(bench):
    bench.results.store([meta("a", "first")])
    consumer = bench.consumer()
    send(bench.broker, "q", "a")
    consumer.settle(ended(claim_one(consumer), "second"))
    assert consumer.flush() == 0
    assert bench.stored("a").result == "first"
    consumer.close()


def test_another_state_is_replaced(bench):
    bench.results.store([meta("a", None, "STARTED")])
    consumer = bench.consumer()
    send(bench.broker, "q", "a")
    consumer.settle(ended(claim_one(consumer)))
    consumer.flush()
    assert (bench.stored("a").status, bench.stored("a").result) == ("SUCCESS", 42)
    consumer.close()


def test_it_is_forgotten_after_its_time(bench):
    consumer = bench.consumer()
    send(bench.broker, "q", "a", "b")
    for claim, expires in zip(claim_all(consumer, 2), (0.05, None), strict=True):
        consumer.settle(ended(claim, expires=expires))
    consumer.flush()
    deadline = time.monotonic() + 5
    while bench.stored("a") is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert bench.stored("b") is not None
    consumer.close()


def test_who_waits_for_the_result_is_woken(bench):
    consumer = bench.consumer()
    send(bench.broker, "q", "a")
    claim = claim_one(consumer)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bench.results.wait, "a", 10.0)
        time.sleep(0.1)
        consumer.settle(ended(claim))
        settled = time.monotonic()
        consumer.flush()
        assert waiting.result().result == 42
        assert time.monotonic() - settled < 2.0
    consumer.close()


@pytest.mark.integration
def test_results_elsewhere_are_stored_first(redis_server, redis_url, tmp_path):
    redis, sqlite = open_broker(redis_url), open_broker(f"sqlite:///{tmp_path}/broker.db")
    for broker, results in [
        (redis, f"sqlite:///{tmp_path}/broker.db"),
        (redis, "redis://elsewhere:6379/0"),
        (redis, redis_url.replace("redis://", "redis://somebody:else@")),
        (sqlite, redis_url),
        (sqlite, f"sqlite:///{tmp_path}/results.db"),
    ]:
        assert not broker.settles_results_of(open_results(results))
    redis.close()
    sqlite.close()
