"""Results in an SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from longshore.exceptions import BackendError
from longshore.results import open_results
from longshore.results.port import ResultBackend, ResultMeta


def meta(task_id: str = "a", status: str = "SUCCESS", result: object = 42, **more: object) -> ResultMeta:
    return ResultMeta(task_id=task_id, status=status, result=result, **more)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/results.db"


@pytest.fixture
def results(url: str) -> Iterator[ResultBackend]:
    backend = open_results(url)
    yield backend
    backend.close()


@pytest.fixture
def other(url: str) -> Iterator[ResultBackend]:
    """Another process's backend on the same file."""
    backend = open_results(url)
    yield backend
    backend.close()


def test_what_is_stored_is_found_by_everybody(results: ResultBackend, other: ResultBackend) -> None:
    stored = meta(
        result={"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"}, status="FAILURE",
        traceback="Traceback …", children=[[["b", "a"], None]], retries=2, queue="orders", worker="celery@host",
    )  # fmt: skip
    results.store([stored])
    assert other.fetch(["a", "missing"]) == [stored, None]


@pytest.mark.parametrize("value", [None, 2**100, -(2**70), 1.5, "ä", [1, [2, {"k": []}]], {"a": None}, True])
def test_any_value_of_json_comes_back_as_it_was(results: ResultBackend, value: object) -> None:
    results.store([meta(result=value)])
    [found] = results.fetch(["a"])
    assert found is not None
    assert found.result == value
    assert type(found.result) is type(value)


def test_a_success_is_never_overwritten(results: ResultBackend) -> None:
    results.store([meta(result=1)])
    results.store([meta(status="FAILURE", result=2), meta("b")])
    results.store([meta(status="SUCCESS", result=3)])
    found = results.fetch(["a", "b"])
    assert [one.result for one in found if one] == [1, 42]


def test_other_states_follow_each_other(results: ResultBackend) -> None:
    for status in ("STARTED", "RETRY", "FAILURE", "SUCCESS"):
        results.store([meta(status=status)])
        [found] = results.fetch(["a"])
        assert found is not None
        assert found.status == status


def test_an_expired_result_is_gone_and_its_place_free(results: ResultBackend) -> None:
    results.store([meta(result=1)], expires=0.02)
    time.sleep(0.03)
    assert results.fetch(["a"]) == [None]
    results.store([meta(result=2)], expires=None)
    assert results.fetch(["a"]) == [meta(result=2)]


def test_expired_results_leave_the_file(results: ResultBackend, tmp_path: Path) -> None:
    results.store([meta(str(n)) for n in range(50)], expires=0.01)
    time.sleep(0.02)
    reopened = open_results(results.url)
    reopened.store([meta("new")])
    reopened.close()
    with sqlite3.connect(tmp_path / "results.db") as connection:
        assert connection.execute("SELECT count(*) FROM results").fetchone() == (1,)
    connection.close()


def test_a_forgotten_result_is_gone(results: ResultBackend) -> None:
    results.store([meta("a"), meta("b")])
    results.forget(["a", "missing"])
    assert results.fetch(["a", "b"]) == [None, meta("b")]


def test_waiting_for_what_is_there_returns_at_once(results: ResultBackend) -> None:
    results.store([meta()])
    assert results.wait("a", 0.0) == meta()


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "REVOKED"])
def test_a_waiter_wakes_when_the_task_ends(results: ResultBackend, other: ResultBackend, status: str) -> None:
    waits = []

    def wait() -> None:
        found = results.wait("a", 10.0)
        waits.append((time.monotonic(), found))

    threads = [Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    other.store([meta(status="STARTED")])
    time.sleep(0.1)
    assert not waits
    ended = time.monotonic()
    other.store([meta(status=status)])
    for thread in threads:
        thread.join(10)
    assert [found and found.status for _, found in waits] == [status] * 3
    assert min(at for at, _ in waits) - ended < 0.2, "the bell, not the look four times a second, wakes"


def test_waiting_ends_with_nothing_after_its_time(results: ResultBackend) -> None:
    started = time.monotonic()
    assert results.wait("a", 0.1) is None
    assert 0.1 <= time.monotonic() - started < 1.0


def test_a_waiter_sleeps(results: ResultBackend) -> None:
    results.store([meta("warm")])
    used = time.process_time()
    results.wait("a", 1.0)
    assert time.process_time() - used < 0.05


def test_an_odd_task_id_works_like_any_other(results: ResultBackend) -> None:
    odd = "../../etc/passwd\n ä" * 10
    thread = Thread(target=lambda: results.wait(odd, 10.0))
    thread.start()
    results.store([meta(odd)])
    thread.join(10)
    assert not thread.is_alive()
    assert results.fetch([odd]) == [meta(odd)]


def test_a_broken_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "not.db").write_text("this is a text, and certainly not a database " * 10)
    backend = open_results(f"sqlite:///{tmp_path}/not.db")
    with pytest.raises(BackendError, match=r"not\.db is not an SQLite database"):
        backend.fetch(["a"])


def test_a_result_that_is_no_json_says_so(results: ResultBackend) -> None:
    with pytest.raises(BackendError, match="cannot be stored"):
        results.store([meta(result=object())])
