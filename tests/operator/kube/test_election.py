"""At most one replica may write, whatever happens to clocks, requests and processes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.engine.ports import Conflict, Unreachable
from longshore_operator.kube.client import NotFound
from longshore_operator.kube.election import (
    LEASE_SECONDS,
    RENEW_DEADLINE_SECONDS,
    Elector,
    Sighting,
    boottime,
    judge,
    sight,
)


@pytest.mark.parametrize(
    ("seen", "now", "move"),
    [
        (None, 0.0, "Create"),
        (Sighting("me", "t", 0.0), 999.0, "Renew"),
        (Sighting("", "t", 0.0), 0.0, "Take"),
        (Sighting("other", "t", 0.0), 9.9, "Wait"),
        (Sighting("other", "t", 0.0), 10.0, "Wait"),
        (Sighting("other", "t", 0.0), 10.1, "Take"),
    ],
)
def test_moves(seen: Sighting | None, now: float, move: str) -> None:
    assert judge(seen, "me", LEASE_SECONDS, now) == move


def test_a_record_that_stands_still_keeps_the_time_at_which_we_saw_it_first() -> None:
    lease = {"spec": {"holderIdentity": "other", "renewTime": "t1"}}
    first = sight(lease, None, 5.0)
    assert sight(lease, first, 9.0) == first
    renewed = {"spec": {"holderIdentity": "other", "renewTime": "t2"}}
    assert sight(renewed, first, 9.0) == Sighting("other", "t2", 9.0)


def test_the_clock_goes_on_while_the_machine_sleeps() -> None:
    assert boottime() > 0


class Server:
    """One Lease behind an API that may fail before or after it has carried a write out."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.trouble: str = ""

    async def get(self, path: str) -> dict[str, Any]:
        self._before()
        if self.lease is None:
            raise NotFound("no lease")
        return {**self.lease, "spec": dict(self.lease["spec"])}

    async def request(self, method: str, path: str, body: dict[str, Any], *, guarded: bool) -> dict[str, Any]:
        assert not guarded
        self._before()
        current = self.lease["metadata"]["resourceVersion"] if self.lease else None
        if (method == "POST") != (self.lease is None) or (
            self.lease and body["metadata"].get("resourceVersion") != current
        ):
            raise Conflict("changed")
        self.version += 1
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        if self.trouble == "after":
            raise Unreachable("the answer was lost")
        return self.lease

    def _before(self) -> None:
        if self.trouble == "before":
            raise Unreachable("away")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def electors(count: int) -> tuple[Server, Clock, list[Elector]]:
    server, clock = Server(), Clock()
    found = [Elector(server, "ns", "lease", f"replica-{n}", clock) for n in range(count)]  # type: ignore[arg-type]
    return server, clock, found


async def step(elector: Elector) -> bool:
    return await elector._step()


async def test_the_first_leads_and_the_second_waits_out_the_whole_lease() -> None:
    _, clock, (first, second) = electors(2)
    assert await step(first)
    assert not await step(second)
    clock.now += LEASE_SECONDS
    assert not await step(second)
    clock.now += 0.1
    assert await step(second)
    assert not first.may_write()


async def test_a_leader_that_cannot_renew_stops_before_another_may_start() -> None:
    server, clock, (leader,) = electors(1)
    assert await step(leader)
    server.trouble = "before"
    clock.now += RENEW_DEADLINE_SECONDS - 0.1
    assert await step(leader)
    clock.now += 0.2
    assert not await step(leader)
    assert RENEW_DEADLINE_SECONDS < LEASE_SECONDS


async def test_a_lease_that_is_given_back_is_taken_at_once() -> None:
    _, _, (first, second) = electors(2)
    await step(first)
    assert not await step(second)
    await first.release()
    assert not first.may_write()
    assert await step(second)


async def test_a_lost_answer_to_a_renewal_does_not_depose_the_leader() -> None:
    server, clock, (leader,) = electors(1)
    await step(leader)
    clock.now += 2
    server.trouble = "after"
    await step(leader)
    server.trouble = ""
    clock.now += 2
    await step(leader)  # a conflict with our own write: look again
    clock.now += 1
    assert await step(leader)


actions = st.lists(
    st.tuples(
        st.sampled_from(["step", "step", "step", "wait", "release"]),
        st.integers(0, 2),
        st.sampled_from(["", "", "", "before", "after"]),
        st.floats(0.0, 12.0),
    ),
    max_size=60,
)


@given(actions)
def test_never_two_may_write(script: list[tuple[str, int, str, float]]) -> None:
    import asyncio

    async def play() -> None:
        server, clock, replicas = electors(3)
        for action, number, trouble, seconds in script:
            server.trouble = trouble
            if action == "step":
                await step(replicas[number])
            elif action == "release":
                await replicas[number].release()
            else:
                clock.now += seconds
            assert sum(one.may_write() for one in replicas) <= 1

    asyncio.run(play())
