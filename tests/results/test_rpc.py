"""Results as messages, on every broker; and none at all."""

from __future__ import annotations

import os
import threading
import time

import pytest

from longshore import Longshore
from longshore.brokers.registry import open_broker
from longshore.exceptions import BackendError, NoResultBackend
from longshore.results.port import ResultMeta
from longshore.results.rpc import RPCResults

pytestmark = pytest.mark.parity("G5")


def meta(reply_to, task_id="a", status="SUCCESS", result=42):
    return ResultMeta(task_id=task_id, status=status, result=result, reply_to=reply_to)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("redis", marks=pytest.mark.integration),
        pytest.param("rabbitmq", marks=pytest.mark.integration),
    ]
)
def broker(request, tmp_path):
    url = f"sqlite:///{tmp_path}/b.db" if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")
    broker = open_broker(url)
    yield broker
    broker.close()


@pytest.fixture
def caller(broker):
    results = RPCResults(lambda: broker)
    yield results
    results.close()


@pytest.fixture
def worker(broker):
    results = RPCResults(lambda: broker)
    yield results
    results.close()


def test_an_answer_reaches_its_caller_and_nobody_else(caller, worker, broker):
    worker.store([meta(caller.reply_to), meta(caller.reply_to, "b", "FAILURE", {"exc_type": "E"}), meta(None, "c")])
    assert caller.wait("a", 10).result == 42
    assert caller.wait("b", 10).status == "FAILURE"
    assert caller.fetch(["a", "b", "c"])[2] is None
    assert worker.fetch(["a"]) == [None]


def test_the_end_counts_whatever_comes_after_it(caller, worker):
    worker.store([meta(caller.reply_to, status="STARTED"), meta(caller.reply_to)])
    assert caller.wait("a", 10).status == "SUCCESS"
    worker.store([meta(caller.reply_to, status="FAILURE"), meta(caller.reply_to, "b")])
    caller.wait("b", 10)
    assert caller.fetch(["a"])[0].status == "SUCCESS"


def test_a_caller_that_has_gone_hurts_nobody(caller, worker, broker):
    gone = RPCResults(lambda: broker)
    address = gone.reply_to
    gone.close()
    worker.store([meta(address, "x"), meta(caller.reply_to), meta(address, "y")])
    assert caller.wait("a", 10).result == 42


def test_several_threads_wait_on_one_queue(caller, worker):
    found = {}

    def wait(task_id):
        found[task_id] = caller.wait(task_id, 20)

    threads = [threading.Thread(target=wait, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    worker.store([meta(caller.reply_to, f"t{n}", result=n) for n in range(8)])
    for thread in threads:
        thread.join(20)
    assert {task_id: one.result for task_id, one in found.items()} == {f"t{n}": n for n in range(8)}


def test_waiting_ends(caller):
    began = time.monotonic()
    assert caller.wait("missing", 0.2) is None
    assert time.monotonic() - began < 5


def test_a_fork_has_a_queue_of_its_own(caller):
    reader, writer = os.pipe()
    mine = caller.reply_to
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, caller.reply_to.encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 100).decode()
    assert theirs
    assert theirs != mine
    for end in (reader, writer):
        os.close(end)


def test_a_forgotten_answer_is_gone(caller, worker):
    worker.store([meta(caller.reply_to)])
    caller.wait("a", 10)
    caller.forget(["a", "missing"])
    assert caller.fetch(["a"]) == [None]


def test_a_dead_broker_is_an_error_of_the_backend(tmp_path):
    results = RPCResults(lambda: open_broker("redis://127.0.0.1:1/0"))
    with pytest.raises(BackendError):
        results.store([meta("somewhere")])


def test_disabled_is_none():
    app = Longshore("none", broker="sqlite:///x.db", backend="disabled://", set_as_current=False)
    assert not app.has_backend
    with pytest.raises(NoResultBackend):
        app.AsyncResult("a").get()
