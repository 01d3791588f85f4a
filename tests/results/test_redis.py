"""Results on a real Redis, in Celery's keys and bodies."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import threading
import time
import uuid

import pytest

from longshore.exceptions import BackendError
from longshore.results import open_results
from longshore.results.port import ResultMeta

pytestmark = pytest.mark.integration

DONE = "2026-11-21T12:00:00+00:00"


@pytest.fixture
def results(redis_url):
    results = open_results(redis_url)
    yield results
    results.close()


def success(task_id: str, result=None, **fields) -> ResultMeta:
    return ResultMeta(task_id=task_id, status="SUCCESS", result=result, date_done=DONE, **fields)


def test_a_state_comes_back_as_it_was_stored(results):
    meta = success(
        "a", {"n": [1, None]}, group_id="g", parent_id="p", name="shop.add", worker="w", retries=2, queue="q"
    )
    failed = ResultMeta(
        task_id="b", status="FAILURE", result={"exc_type": "E", "exc_message": ["x"], "exc_module": "m"}
    )
    results.store([meta, failed])
    assert results.fetch(["b", "missing", "a"]) == [failed, None, meta]


def test_the_body_is_celerys(results, redis_client):
    results.store([success("a", 7, children=[[["b", None], None]])])
    assert json.loads(redis_client.get("celery-task-meta-a")) == {
        "status": "SUCCESS", "result": 7, "traceback": None, "children": [[["b", None], None]], "date_done": DONE,
        "task_id": "a",
    }  # fmt: skip


def test_what_celery_stores_is_read(results, redis_client):
    body = {"status": "SUCCESS", "result": float("nan"), "traceback": None, "children": [], "date_done": None,
            "task_id": "a", "args": [], "kwargs": {}, "name": "t", "queue": "q"}  # fmt: skip
    redis_client.set("celery-task-meta-a", json.dumps(body))
    [meta] = results.fetch(["a"])
    assert (meta.status, meta.name, meta.result != meta.result) == ("SUCCESS", "t", True)


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        decimal.Decimal("1.50"),
        uuid.UUID(int=5),
        b"bytes",
        dt.date(2026, 1, 2),
    ],
)
def test_values_that_json_does_not_have_carry_their_type(results, value):
    results.store([success("a", {"value": [value]})])
    assert results.fetch(["a"])[0].result == {"value": [value]}


@pytest.mark.parametrize("spaced", [True, False])
def test_a_success_is_never_overwritten(results, redis_client, spaced):
    separators = None if spaced else (",", ":")
    redis_client.set(
        "celery-task-meta-a", json.dumps({"status": "SUCCESS", "result": 1, "task_id": "a"}, separators=separators)
    )
    results.store([ResultMeta(task_id="a", status="FAILURE"), success("b", 2)])
    assert [meta.status for meta in results.fetch(["a", "b"])] == ["SUCCESS", "SUCCESS"]
    assert results.fetch(["a"])[0].result == 1


def test_a_success_is_recognised_wherever_its_status_stands(results, redis_client):
    redis_client.set("celery-task-meta-a", json.dumps({"result": {"status": "FAILURE"}, "status": "SUCCESS"}))
    redis_client.set("celery-task-meta-b", json.dumps({"result": {"status": "SUCCESS"}, "status": "RETRY"}))
    results.store([ResultMeta(task_id=name, status="FAILURE") for name in "ab"])
    assert [meta.status for meta in results.fetch(["a", "b"])] == ["SUCCESS", "FAILURE"]


def test_it_expires_or_not_as_asked(results, redis_client):
    results.store([success("day")])
    results.store([success("soon")], expires=0.05)
    results.store([success("never")], expires=None)
    assert 86_000_000 < redis_client.pttl("celery-task-meta-day") <= 86_400_000
    assert redis_client.pttl("celery-task-meta-never") == -1
    deadline = time.monotonic() + 5
    while results.fetch(["soon"])[0] is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_waiting_ends_when_the_task_has_ended(results):
    def work():
        results.store([ResultMeta(task_id="a", status="STARTED")])
        results.store([success("a", 5)])

    thread = threading.Timer(0.1, work)
    thread.start()
    started = time.monotonic()
    assert results.wait("a", 10).result == 5
    assert time.monotonic() - started < 1.0
    thread.join()


def test_waiting_sees_what_was_there_before(results):
    results.store([success("a", 5)])
    assert results.wait("a", 0).result == 5


def test_waiting_ends_with_nothing_after_its_time(results):
    started = time.monotonic()
    assert results.wait("a", 0.15) is None
    assert 0.1 < time.monotonic() - started < 1.0


def test_no_result_slips_through_between_looking_and_listening(results):
    """Store at once in a thread, wait in another, again and again: each wait ends long before its time."""
    for number in range(60):
        name = str(number)
        thread = threading.Thread(target=results.store, args=([success(name, number)],))
        thread.start()
        assert results.wait(name, 4.0).result == number
        thread.join()


def test_what_is_forgotten_is_gone(results):
    results.store([success("a")])
    results.forget(["a", "b"])
    assert results.fetch(["a"]) == [None]


def test_garbage_is_an_error_of_the_backend(results, redis_client):
    redis_client.set("celery-task-meta-a", "garbage")
    with pytest.raises(BackendError, match="task a cannot be read"):
        results.fetch(["a"])


def test_nobody_there_is_an_error_within_the_deadline(new_redis):
    server = new_redis(password="secret")
    results = open_results(server.url())
    results.store([success("a")])
    wrong = open_results(server.url().replace("secret", "hidden"))
    with pytest.raises(BackendError, match="user name and password") as caught:
        wrong.fetch(["a"])
    assert "hidden" not in str(caught.value)
    server.kill()
    started = time.monotonic()
    with pytest.raises(BackendError, match=r"cannot be reached|broke"):
        open_results(server.url()).fetch(["a"])
    assert time.monotonic() - started < 5.5
    results.close()


def test_nothing_asked_is_nothing_done(results):
    results.store([])
    results.forget([])
    assert results.fetch([]) == []
