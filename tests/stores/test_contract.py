"""What every store does alike: keys, locks, turns, marks and counts, by the server's clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from longshore.core.ratelimit import Rate, parse_rate
from longshore.exceptions import BackendError
from longshore.stores import open_store
from tests.support.workers import wait_for

STORES = [
    "sqlite",
    pytest.param("redis", marks=pytest.mark.integration),
    pytest.param("redis_cluster", marks=pytest.mark.integration),
    "sql-sqlite",
    pytest.param("postgres", marks=pytest.mark.integration),
]


@pytest.fixture(params=STORES)
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    if request.param == "sql-sqlite":
        pytest.importorskip("sqlalchemy")
        return f"db+sqlite:///{tmp_path}/state.db"
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def store(url):
    store = open_store(url)
    yield store
    store.close()


@pytest.fixture
def other(url):
    """Another process's store on the same server."""
    store = open_store(url)
    yield store
    store.close()


def race(url: str, contestants: int, ask: Callable[..., bool]) -> list[int]:
    """Return who of many at once was told yes."""
    won: list[int] = []
    start = threading.Barrier(contestants)

    def contend(number: int) -> None:
        store = open_store(url)
        start.wait(10)
        if ask(store, number):
            won.append(number)
        store.close()

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(contestants)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return won


class TestKeys:
    def test_the_first_holder_gets_it_and_keeps_it(self, store, other):
        assert store.claim_once("tick", "a", expires=60)
        assert not other.claim_once("tick", "b", expires=60)
        assert store.claim_once("tick", "a", expires=60), "asking again is fine"
        assert other.claim_once("another", "b", expires=60)

    def test_an_expired_one_is_free_and_asking_did_not_prolong_it(self, store, other):
        assert store.claim_once("tick", "a", expires=0.1)
        assert store.claim_once("tick", "a", expires=600)
        wait_for("the key free", lambda: other.claim_once("tick", "b", expires=60), 5)
        assert not store.claim_once("tick", "a", expires=60)

    def test_of_many_at_once_exactly_one_gets_it(self, url):
        assert len(race(url, 8, lambda store, number: store.claim_once("tick", str(number), expires=60))) == 1


@pytest.mark.parity("H6")
class TestLocks:
    def test_one_holder_at_a_time(self, store, other):
        assert store.acquire("report:1", "a", expires=60) == 0.0
        left = other.acquire("report:1", "b", expires=60)
        assert 50 < left <= 60
        assert other.acquire("report:2", "b", expires=60) == 0.0

    def test_a_released_lock_is_free_at_once(self, store, other):
        store.acquire("report", "a", expires=60)
        assert store.release("report", "a")
        assert not store.release("report", "a"), "once is enough"
        assert other.acquire("report", "b", expires=60) == 0.0

    def test_nobody_frees_or_renews_the_lock_of_another(self, store, other):
        store.acquire("report", "a", expires=60)
        assert not other.release("report", "b")
        assert not other.renew("report", "b", expires=60)
        assert other.acquire("report", "b", expires=60) > 0

    def test_who_falls_silent_loses_it(self, store, other):
        store.acquire("report", "a", expires=0.1)
        wait_for("the lock free", lambda: not other.acquire("report", "b", expires=60), 5)
        assert not store.renew("report", "a", expires=60), "it must learn that it lost"
        assert not store.release("report", "a")
        assert store.acquire("report", "a", expires=60) > 0

    def test_a_renewed_lock_stays(self, store, other):
        store.acquire("report", "a", expires=0.3)
        ends = time.monotonic() + 0.9
        while time.monotonic() < ends:
            assert store.renew("report", "a", expires=0.3)
            assert other.acquire("report", "b", expires=60) > 0
            time.sleep(0.05)

    def test_asking_again_renews_it(self, store, other):
        store.acquire("report", "a", expires=0.2)
        assert store.acquire("report", "a", expires=60) == 0.0
        assert other.acquire("report", "b", expires=60) > 1

    def test_an_expired_lock_cannot_be_renewed_also_when_nobody_took_it(self, store):
        store.acquire("report", "a", expires=0.001)
        time.sleep(0.02)
        assert not store.renew("report", "a", expires=60)

    def test_of_many_at_once_exactly_one_gets_it(self, url):
        assert len(race(url, 8, lambda store, number: not store.acquire("report", str(number), expires=60))) == 1


@pytest.mark.parity("I2")
class TestTurns:
    def test_turns_are_one_interval_apart_whoever_takes_them(self, store, other):
        rate = Rate(10, 60.0)
        turns = [each.take("mails", rate, horizon=60) for each in (store, other, store, other)]
        assert all(turn.taken for turn in turns)
        assert [turn.wait for turn in turns] == pytest.approx([0, 6, 12, 18], abs=1)
        assert other.take("other", rate).wait == 0

    def test_a_turn_beyond_the_horizon_is_not_taken(self, store):
        rate = Rate(1, 60.0)
        assert store.take("mails", rate).taken
        first, second = store.take("mails", rate), store.take("mails", rate)
        assert (first.taken, second.taken) == (False, False)
        assert first.wait == pytest.approx(60, abs=1)
        assert second.wait == pytest.approx(60, abs=1)

    def test_several_turns_are_taken_at_once(self, store):
        rate = Rate(10, 60.0)
        assert store.take("mails", rate, count=5).wait == 0
        assert store.take("mails", rate, horizon=60).wait == pytest.approx(30, abs=1)

    def test_a_changed_rate_counts_from_the_last_turn(self, store):
        assert store.take("mails", Rate(1, 3600.0)).taken
        assert not store.take("mails", Rate(1, 3600.0), horizon=60).taken
        assert store.take("mails", Rate(1000, 1.0), horizon=0.1).taken
        assert store.take("mails", Rate(1, 60.0)).wait == pytest.approx(60, abs=1)

    def test_idle_time_is_not_saved_up(self, store):
        rate = Rate(4, 1.0)
        store.take("mails", rate)
        wait_for("the next turn", lambda: store.take("mails", rate).taken, 5)
        time.sleep(0.6)
        assert store.take("mails", rate).taken
        assert not store.take("mails", rate).taken

    def test_the_rate_holds_over_time(self, url):
        rate = parse_rate("100/s")
        seconds, taken = 1.0, []
        stop = time.monotonic() + seconds

        def worker() -> None:
            store = open_store(url)
            while time.monotonic() < stop:
                turn = store.take("mails", rate, horizon=0.02)
                if turn.taken:
                    taken.append(1)
                    time.sleep(turn.wait)
                else:
                    time.sleep(0.005)
            store.close()

        threads = [threading.Thread(target=worker) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(taken) <= 100 * seconds * 1.05 + 3, "turns within the horizon count as well"
        assert len(taken) >= 85 * seconds


class TestMarks:
    def test_everybody_reads_them(self, store, other):
        store.mark("revoked", ["a", "b"], expires=60)
        store.mark("other", ["c"], expires=60)
        assert sorted(other.marked("revoked").ids) == ["a", "b"]
        assert other.marked("nothing").ids == []

    def test_the_cursor_shows_what_is_new(self, store, other):
        store.mark("revoked", ["a"], expires=60)
        cursor = other.marked("revoked").cursor
        assert other.marked("revoked", cursor) == (cursor, [])
        store.mark("revoked", ["b", "c"], expires=60)
        store.mark("revoked", ["a"], expires=60)
        later = other.marked("revoked", cursor)
        assert later.ids == ["b", "c", "a"]
        assert other.marked("revoked", later.cursor).ids == []

    def test_expired_ones_are_gone_and_the_cursor_stays(self, store, other):
        store.mark("revoked", ["a"], expires=0.05)
        cursor = store.marked("revoked").cursor
        wait_for("expiry", lambda: not other.marked("revoked").ids, 5)
        assert store.marked("revoked", cursor).cursor == cursor
        store.mark("revoked", ["b"], expires=60)
        assert store.marked("revoked", cursor).ids == ["b"]

    def test_removed_ones_are_gone(self, store, other):
        store.mark("revoked", ["a", "b"], expires=60)
        store.unmark("revoked", ["a", "missing"])
        assert other.marked("revoked").ids == ["b"]

    def test_many_at_once_lose_none(self, url):
        race(url, 8, lambda store, number: store.mark("revoked", [f"{number}.{n}" for n in range(20)], expires=60))
        store = open_store(url)
        assert len(store.marked("revoked").ids) == 160
        store.close()


class TestCounts:
    def test_different_members_count_once_each(self, store, other):
        assert [store.count("chord", member, expires=60) for member in "aab"] == [1, 1, 2]
        assert other.count("chord", "c", expires=60) == 3
        assert other.count("another", "c", expires=60) == 1

    def test_of_many_at_once_one_is_the_last(self, url):
        assert len(race(url, 8, lambda store, number: store.count("chord", str(number), expires=60) == 8)) == 1

    def test_they_expire(self, store):
        store.count("chord", "a", expires=1)
        time.sleep(1.1)
        assert store.count("chord", "b", expires=60) == 1


def test_a_dead_server_is_an_error_of_the_backend(tmp_path):
    for url in ("redis://127.0.0.1:1/0", f"sqlite:///{tmp_path}/missing/state.db"):
        with pytest.raises(BackendError):
            open_store(url).acquire("a", "b", expires=1)
