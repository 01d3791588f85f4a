"""Results on a cluster: at several nodes, each found again, each waited for where it is."""

from __future__ import annotations

import threading

import pytest

from longshore.results import open_results
from longshore.results.port import ResultMeta

pytestmark = pytest.mark.integration

IDS = [f"id-{number}" for number in range(40)]


@pytest.fixture
def results(redis_cluster_url):
    results = open_results(redis_cluster_url)
    yield results
    results.close()


def test_results_are_found_again_in_the_order_asked_for(results, redis_cluster):
    results.store([ResultMeta(task_id=name, status="SUCCESS", result=name) for name in IDS])
    found = results.fetch([*reversed(IDS), "unknown", IDS[0]])
    assert [meta and meta.result for meta in found] == [*reversed(IDS), None, IDS[0]]
    for server in redis_cluster.servers:
        with server.client() as client:
            assert client.dbsize() > 0, "they are spread over the nodes"


def test_a_success_stays_and_the_forgotten_are_gone(results):
    results.store([ResultMeta(task_id="a", status="SUCCESS")])
    results.store([ResultMeta(task_id="a", status="FAILURE")])
    assert results.fetch(["a"])[0].status == "SUCCESS"
    results.forget(["a", "b"])
    assert results.fetch(["a"]) == [None]


def test_who_waits_is_woken(results):
    for name in IDS[:8]:
        timer = threading.Timer(0.05, results.store, ([ResultMeta(task_id=name, status="SUCCESS")],))
        timer.start()
        assert results.wait(name, 5).status == "SUCCESS"
        timer.join()
    assert results.wait("never", 0.05) is None
