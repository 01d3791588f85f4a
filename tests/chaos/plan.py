"""Which scenario runs on which brokers, how often at each size, and how one is run."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from tests.chaos.outcome import Outcome, together
from tests.chaos.scenarios import delayed, drains, embedded, frozen, kills, long_tasks, outages, poison
from tests.chaos.stage import BROKERS, Servers, Stage

ALL = BROKERS
SERVED = ("redis", "rabbitmq", "quorum")
LANES = 6
EMBEDDED = ("sqlite",)
THREE = ("sqlite", "redis", "rabbitmq")


@dataclass(frozen=True, slots=True)
class Scenario:
    """`full` and `ci` are counts of cycles (of messages for `delayed`); `ci_brokers` are those that CI tries."""

    name: str
    what: str
    act: Callable[[Stage, int], Outcome]
    full: int
    ci: int
    brokers: tuple[str, ...] = ALL
    ci_brokers: tuple[str, ...] = THREE
    durable: bool = False
    lanes: int = 1
    """Into how many queues the cycles are split, which run at the same time: where a cycle is mostly waiting."""


_SCENARIOS = (
    Scenario(
        "kill",
        "SIGKILL of a child, the supervisor, all at once; late acknowledgment",
        kills.kill_late,
        200,
        6,
        lanes=LANES,
    ),
    Scenario(
        "kill-early",
        "the same with early acknowledgment",
        kills.kill_early,
        60,
        3,
        lanes=LANES,
        ci_brokers=("sqlite", "redis"),
    ),
    Scenario(
        "kill-threads",
        "the same, tasks in 8 threads of one process",
        kills.kill_threads,
        60,
        3,
        lanes=LANES,
        ci_brokers=EMBEDDED,
    ),
    Scenario(
        "kill-asyncio",
        "the same, tasks on one event loop",
        kills.kill_asyncio,
        60,
        3,
        lanes=LANES,
        ci_brokers=EMBEDDED,
    ),
    Scenario(
        "kill-retries",
        "the same, each task is retried once",
        kills.kill_retries,
        60,
        3,
        lanes=LANES,
        ci_brokers=EMBEDDED,
    ),
    Scenario(
        "kill-chords",
        "the same, the tasks are parts of chords",
        kills.kill_chords,
        60,
        3,
        lanes=LANES,
        ci_brokers=(),
    ),
    Scenario(
        "orphans",
        "SIGKILL of the supervisor while its children sleep, hold the GIL, idle",
        kills.orphans,
        30,
        3,
        ci_brokers=("sqlite",),
    ),
    Scenario("poison", "one poison task among 1,000 innocents", poison.poison, 10, 1),
    Scenario(
        "restart", "the broker restarts under load", outages.restart, 20, 2, SERVED, ("redis", "quorum"), durable=True
    ),
    Scenario(
        "cut",
        "connections cut, and black holes of 1 to 12 s",
        outages.cut,
        20,
        2,
        SERVED,
        ("redis", "rabbitmq"),
        durable=True,
        lanes=LANES,
    ),
    Scenario("long", "a task three times longer than any lease", long_tasks.outlast, 1, 1),
    Scenario("delayed", "messages with an ETA", delayed.delayed, 100_000, 2_000),
    Scenario("drain", "SIGTERM under load; processes, threads, asyncio", drains.drain, 100, 6),
    Scenario("freeze", "SIGSTOP past the lease, then SIGCONT", frozen.freeze, 10, 1, lanes=LANES),
    Scenario("senders", "senders killed", embedded.kill_senders, 20, 3, EMBEDDED, EMBEDDED),
    Scenario("workers", "workers killed in a large backlog", embedded.kill_workers, 40, 4, EMBEDDED, EMBEDDED),
    Scenario("takeover", "how soon a dead worker's task runs again", embedded.takeover, 40, 4, EMBEDDED, EMBEDDED),
)
SCENARIOS: Mapping[str, Scenario] = {one.name: one for one in _SCENARIOS}


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario on one broker, as it came out."""

    scenario: str
    broker: str
    seed: int
    seconds: float
    outcome: Outcome


def run(scenario: Scenario, broker: str, count: int, seed: int, servers: Servers, *, short: bool = False) -> Row:
    """Run one scenario on one broker. `short` shortens leases where a scenario waits for them."""
    began = time.monotonic()
    lanes = min(scenario.lanes, count)
    if lanes > 1:
        servers.url(broker, servers.folder, durable=scenario.durable)  # started once, before the lanes use it

    def lane(index: int) -> Outcome:
        rng = random.Random(f"{seed}/{scenario.name}/{broker}/{index}")
        with Stage(servers, broker, rng, durable=scenario.durable, lane=index, short=short) as stage:
            outcome = scenario.act(stage, count // lanes + (index < count % lanes))
            figures = {**outcome.figures, "time limits stretched by": round(stage.most_stretched, 1)}
            return replace(outcome, figures=figures)

    outcome = together(_side_by_side(lane, lanes))
    return Row(scenario.name, broker, seed, round(time.monotonic() - began, 1), outcome)


def _side_by_side(lane: Callable[[int], Outcome], lanes: int) -> list[Outcome]:
    if lanes == 1:
        return [lane(0)]
    with ThreadPoolExecutor(lanes) as pool:
        return list(pool.map(lane, range(lanes)))
