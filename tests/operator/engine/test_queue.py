"""The work queue handles a key once at a time, never forgets one, and waits longer for what keeps failing."""

from __future__ import annotations

import asyncio

import pytest

from longshore_operator.engine.queue import BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS, WorkQueue

pytestmark = pytest.mark.looptime


async def empty(queue: WorkQueue[str], within: float = 0.0) -> bool:
    try:
        async with asyncio.timeout(within):
            key = await queue.get()
    except TimeoutError:
        return True
    queue.done(key)
    return False


async def test_keys_come_in_order_and_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "abab":
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert await empty(queue)


async def test_a_key_in_flight_is_not_handled_twice_at_a_time_but_once_more_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert await empty(queue)
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert await empty(queue)


async def test_delayed_keys_come_at_their_time_and_the_earliest_time_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    queue.add_after("late", 5)
    queue.add_after("late", 30)
    queue.add_after("soon", 1)
    queue.add_after("now", 0)
    assert [(await queue.get(), round(loop.time() - begin)) for _ in range(3)] == [("now", 0), ("soon", 1), ("late", 5)]
    for key in ("now", "soon", "late"):
        queue.done(key)
    assert await empty(queue, within=60), "the later time of `late` is dropped"


async def test_an_earlier_time_replaces_a_later_one() -> None:
    queue: WorkQueue[str] = WorkQueue()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    queue.add_after("a", 30)
    queue.add_after("a", 2)
    assert await queue.get() == "a"
    assert round(loop.time() - begin) == 2


async def test_a_delayed_key_that_is_in_flight_at_its_time_comes_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add_after("a", 1)
    assert await empty(queue, within=5)
    queue.done("a")
    assert not await empty(queue, within=1)


async def test_a_waiting_worker_wakes_up_for_a_new_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in "abc":
        queue.add(key)
    assert sorted(await asyncio.gather(*waiting)) == ["a", "b", "c"]


async def test_back_off_doubles_to_a_limit_and_starts_anew_after_a_success() -> None:
    queue: WorkQueue[str] = WorkQueue()
    delays = [queue.add_failed("a") for _ in range(12)]
    assert delays[:3] == [BACKOFF_FIRST_SECONDS, BACKOFF_FIRST_SECONDS * 2, BACKOFF_FIRST_SECONDS * 4]
    assert delays[-1] == BACKOFF_LAST_SECONDS
    assert queue.add_failed("b") == BACKOFF_FIRST_SECONDS
    queue.forget("a")
    assert queue.add_failed("a") == BACKOFF_FIRST_SECONDS


async def test_no_key_is_lost_and_none_runs_twice_at_a_time_under_many_workers() -> None:
    queue: WorkQueue[int] = WorkQueue()
    seen: dict[int, int] = {}
    running: set[int] = set()

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in running
            running.add(key)
            await asyncio.sleep(0.01 * (key % 3))
            seen[key] = seen.get(key, 0) + 1
            running.discard(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    for number in range(500):
        queue.add(number % 50)
        if number % 7 == 0:
            await asyncio.sleep(0.005)
    await asyncio.sleep(10)
    assert set(seen) == set(range(50))
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
