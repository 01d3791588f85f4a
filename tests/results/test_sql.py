"""Results in a database: on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import pickle
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from longshore.exceptions import BackendError, ImproperlyConfigured
from longshore.results import kept, open_results
from longshore.results.port import ResultMeta
from longshore.results.waiting import wait_for_all
from tests.support.workers import wait_for

sqlalchemy = pytest.importorskip("sqlalchemy")
pytestmark = pytest.mark.parity("G5")


def meta(task_id="a", status="SUCCESS", result=42, **more):
    return ResultMeta(task_id=task_id, status=status, result=result, **more)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def url(request, tmp_path):
    return f"db+sqlite:///{tmp_path}/r.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def results(url):
    results = open_results(url)
    yield results
    results.close()


@pytest.fixture
def other(url):
    results = open_results(url)
    yield results
    results.close()


def same(found: ResultMeta | None) -> tuple[object, ...]:
    assert found is not None
    return found.task_id, found.status, found.result, found.traceback, found.children, found.queue, found.retries


def test_what_is_stored_is_found_by_everybody(results, other):
    failed = meta(
        status="FAILURE", result={"exc_type": "ValueError", "exc_message": ["nö"], "exc_module": "builtins"},
        traceback="Traceback …", children=[[["b", "a"], None]], retries=2, queue="orders", worker="w", name="shop.pay",
    )  # fmt: skip
    results.store([failed, meta("b", result=None)])
    found, nothing, second = other.fetch(["a", "missing", "b"])
    assert same(found) == same(failed)
    assert nothing is None
    assert second.result is None
    assert abs(datetime.fromisoformat(found.date_done) - datetime.now(UTC)).total_seconds() < 60


@pytest.mark.parametrize(
    "value",
    [None, 2**100, 1.5, "ä\x00", [1, [2, {"k": []}]], {"a": None}, True, datetime(2026, 1, 2, tzinfo=UTC),
     Decimal("1.20"), UUID(int=7)],
)  # fmt: skip
def test_any_value_that_a_message_carries_comes_back(results, value):
    results.store([meta(result=value)])
    [found] = results.fetch(["a"])
    assert found.result == value
    assert type(found.result) is type(value)


def test_a_success_is_never_overwritten(results):
    results.store([meta(result=1)])
    results.store([meta(status="FAILURE", result=2), meta("b")])
    results.store([meta(result=3)])
    assert [one.result for one in results.fetch(["a", "b"])] == [1, 42]
    results.store([meta("c", result="done"), meta("c", status="STARTED")])
    assert results.fetch(["c"])[0].status == "SUCCESS", "also not within one batch"


def test_other_states_follow_each_other(results):
    for status in ("STARTED", "RETRY", "FAILURE", "SUCCESS"):
        results.store([meta(status=status)])
        assert results.fetch(["a"])[0].status == status


def test_old_rows_leave_the_tables(results):
    results.store([meta(str(n), children=[[["c", None], None]]) for n in range(20)])
    results.save_group("g", [["g", None], []], expires=60)
    results.purge(3600)
    assert results.fetch(["7"])[0] is not None
    time.sleep(0.02)
    results.purge(0.01)
    assert results.fetch([str(n) for n in range(20)]) == [None] * 20
    assert results.restore_group("g") is None


def test_a_forgotten_result_is_gone(results):
    results.store([meta("a", children=[[["b", None], None]]), meta("b")])
    results.forget(["a", "missing"])
    assert [one and one.task_id for one in results.fetch(["a", "b"])] == [None, "b"]


def test_a_waiter_is_told_of_the_end(results, other):
    found = []
    thread = threading.Thread(target=lambda: found.append(results.wait("a", 20)))
    thread.start()
    other.store([meta(status="STARTED")])
    other.store([meta(status="FAILURE")])
    thread.join(20)
    assert found[0].status == "FAILURE"
    assert results.wait("missing", 0.05) is None


def test_many_are_waited_for_by_few_questions(results, other):
    ids = [f"t{n}" for n in range(300)]
    asked = []
    original = results.fetch
    results.fetch = lambda some: asked.append(len(some)) or original(some)

    def work():
        for start in range(0, 300, 50):
            other.store([meta(task_id) for task_id in ids[start : start + 50]])

    thread = threading.Thread(target=work)
    thread.start()
    ended = wait_for_all(results, ids, 30)
    thread.join()
    assert len(ended) == 300
    assert len(asked) < 100, "not one question for each"
    assert wait_for_all(results, ["missing", *ids], 0.1).keys() == set(ids)


def test_stores_at_once_by_many_threads_lose_nothing(url):
    def work(number):
        backend = open_results(url)
        for n in range(10):
            backend.store([meta(f"shared.{n}", status="STARTED", result=number), meta(f"{number}.{n}")])
        backend.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    backend = open_results(url)
    owners = [*range(4), "shared"]
    found = backend.fetch([f"{owner}.{n}" for owner in owners for n in range(10)])
    assert all(found)
    backend.close()


def test_a_fork_opens_its_own_connection(results):
    results.store([meta("parent")])
    child = os.fork()
    if child == 0:
        try:
            results.store([meta("child")])
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert all(results.fetch(["parent", "child"]))


class TestTheAddress:
    def test_a_folder_that_is_missing(self):
        with pytest.raises(BackendError, match="unable to open"):
            open_results("db+sqlite:////nowhere/at/all/r.db").fetch(["a"])

    @pytest.mark.parametrize("url", ["db+nosuch://localhost/x", "db+postgresql+nosuch://localhost/x"])
    def test_an_unknown_database(self, url):
        with pytest.raises(ImproperlyConfigured, match="nosuch"):
            open_results(url).fetch(["a"])

    def test_a_missing_driver(self):
        with pytest.raises(ImproperlyConfigured, match="driver of mysql"):
            open_results("db+mysql+pymysql://tester:secret@localhost/x").fetch(["a"])

    def test_a_server_that_is_not_there_is_an_error_without_the_password(self):
        pytest.importorskip("psycopg")
        began = time.monotonic()
        with pytest.raises(BackendError) as caught:
            open_results("db+postgresql+psycopg://tester:topsecret@127.0.0.1:1/x").fetch(["a"])
        assert time.monotonic() - began < 10
        assert "topsecret" not in str(caught.value)
        assert "127.0.0.1" in str(caught.value)


@pytest.mark.integration
class TestPostgreSQL:
    def test_transactions_are_read_committed(self, postgres_url):
        results = open_results(postgres_url)
        level = results._database.run(lambda c: c.exec_driver_sql("SHOW transaction_isolation").scalar_one())
        assert level == "read committed"
        results.close()

    def test_a_restart_of_the_server_is_survived(self, postgres_server):
        url = postgres_server.new_database()
        results = open_results(url)
        results.store([meta("before")])
        postgres_server.stop()
        with pytest.raises(BackendError):
            results.store([meta("during")])
        postgres_server.start()
        wait_for("the database back", lambda: _stores(results), 20)
        assert results.fetch(["before"])[0].result == 42
        results.close()


def _stores(results) -> bool:
    try:
        results.store([meta("after")])
    except BackendError:
        return False
    return True


class TestPickles:
    def test_an_object_is_refused_and_runs_nothing(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path}/trapped",)

        with pytest.raises(BackendError, match=r"posix\.system"):
            kept.load(pickle.dumps(Trap()), "result")
        assert not (tmp_path / "trapped").exists()

    @pytest.mark.parametrize("garbage", [b"", b"garbage", pickle.dumps(print)])
    def test_garbage_is_an_error(self, garbage):
        with pytest.raises(BackendError, match="cannot be read"):
            kept.load(garbage, "result")

    def test_what_is_no_json_is_not_stored(self):
        with pytest.raises(BackendError, match="cannot be stored"):
            kept.dump(object(), as_pickle=True)
