"""The rows of the table: what is measured, among whom, and what Longshore is held to.

A target is absolute, or a ratio to somebody of the same run. An absolute one carries the peer and the figure that were
seen on this kind of machine: on a slow hour the ratio to that peer counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.bench.systems import EARLY, LATE


@dataclass(frozen=True, slots=True)
class Target:
    """What the figure has to reach; `lower` says that less is better."""

    value: float | None = None
    peer: str | None = None
    peer_seen: float | None = None
    """What the peer reached where `value` was decided."""
    factor: float | None = None
    """With `of`: the figure is held to this many times somebody's of the same run."""
    of: str | None = None
    lower: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a row's trials."""

    key: str
    unit: str
    target: Target | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One job on one broker."""

    id: str
    title: str
    broker: str
    trial: str
    """A function of `trials`: throughput, latency, waiting, start_up; or what the driver sends: one, many, beside,
    coroutines."""
    systems: tuple[str, ...]
    measures: tuple[Measure, ...]
    raw: tuple[str, ...] = ()
    raw_count: int = 3000
    processes: int = 1
    slots: int = 0
    ack: str = LATE
    options: dict[str, Any] = field(default_factory=dict)
    quick: tuple[str, ...] = ()
    """Who takes part in the quick run; empty: the row is left out there."""


REDIS_PEERS = ("longshore", "celery", "celery solo", "dramatiq", "huey", "taskiq", "saq", "arq", "rq", "streaq")
RABBITMQ_PEERS = ("longshore", "celery", "celery solo", "dramatiq", "taskiq")
SQLITE_PEERS = ("longshore", "huey", "celery", "honker", "localqueue")


def _without(systems: tuple[str, ...], *names: str) -> tuple[str, ...]:
    return tuple(name for name in systems if name not in names)


def _rate(
    value: float | None = None, peer: str | None = None, seen: float | None = None, **of: Any
) -> tuple[Measure, ...]:
    target = Target(value, peer, seen, **of) if value is not None or of else None
    return (Measure("value", "/s", target),)


def _wait(p50: float, p99: float, peer: str, seen: float) -> tuple[Measure, ...]:
    return (
        Measure("value", "ms", Target(p50, peer, seen, lower=True), "p50"),
        Measure("p99", "ms", Target(p99, lower=True), "p99"),
        Measure("idle_cpu", "% CPU", None, "idle"),
    )


def _start(memory: float, memory_seen: float) -> tuple[Measure, ...]:
    return (
        Measure("value", "ms", Target(200, "celery", 430, lower=True), "ready"),
        Measure("pss_mb", "MB", Target(memory, "celery", memory_seen, lower=True), "PSS of all processes"),
    )


_IO = (Measure("value", "s", Target(1.08, "taskiq", 1.13, lower=True)),)
_STATED = (Measure("value", "/s"),)
_BATCHES = ("longshore", "rq", "streaq")

ROWS: tuple[Row, ...] = (
    Row("noop-1-redis", "no-op tasks, 1 process", "redis", "throughput", REDIS_PEERS,
        _rate(40_000, "dramatiq", 7450), raw=("raw RPOP",), raw_count=100_000,
        quick=("longshore", "celery solo", "dramatiq", "taskiq", "huey")),
    Row("noop-1-rabbitmq", "no-op tasks, 1 process", "rabbitmq", "throughput", RABBITMQ_PEERS,
        _rate(25_000, "dramatiq", 10_200), raw=("raw consume",), raw_count=30_000,
        quick=("longshore", "celery", "dramatiq", "taskiq")),
    Row("noop-2-redis", "no-op tasks, 2 processes", "redis", "throughput", REDIS_PEERS,
        _rate(60_000, "dramatiq", 11_300), processes=2),
    Row("noop-2-rabbitmq", "no-op tasks, 2 processes", "rabbitmq", "throughput", RABBITMQ_PEERS,
        _rate(40_000, "dramatiq", 15_100), processes=2),
    Row("noop-1-quorum", "no-op tasks, 1 process, quorum queue", "rabbitmq", "throughput", ("longshore",), _STATED,
        options={"queue_type": "quorum"}),
    Row("early-redis", "early ack with its barrier, 1 process", "redis", "throughput",
        ("longshore", "celery solo", "huey", "taskiq"), _rate(20_000), ack=EARLY),
    Row("early-rabbitmq", "early ack with its barrier, 1 process", "rabbitmq", "throughput",
        ("longshore", "celery solo", "taskiq"), _STATED, ack=EARLY),
    Row("results-redis", "late ack, results stored (Redis), 1 process", "redis", "throughput",
        _without(REDIS_PEERS, "streaq"), _rate(25_000, "huey", 5560), options={"results": True}),
    Row("results-rabbitmq", "late ack, results stored (Redis), 1 process", "rabbitmq", "throughput", RABBITMQ_PEERS,
        _rate(20_000, "celery solo", 2090), options={"results": True}),
    Row("send-redis", "send one by one", "redis", "one", _without(REDIS_PEERS, "celery solo"),
        _rate(factor=0.75, of="raw LPUSH"), raw=("raw LPUSH", "raw LPUSH, socket"),
        quick=("longshore", "celery", "dramatiq", "taskiq", "huey")),
    Row("send-rabbitmq", "send one by one, confirmed", "rabbitmq", "one", ("longshore", "celery", "dramatiq", "taskiq"),
        _rate(factor=0.9, of="raw confirmed publish"), raw=("raw confirmed publish",), raw_count=1500,
        options={"confirm": True}),
    Row("send-16-rabbitmq", "send from 16 threads, confirmed", "rabbitmq", "beside", ("longshore",),
        _rate(factor=8.0, of="raw confirmed publish"), raw=("raw confirmed publish",), raw_count=1500,
        options={"confirm": True}),
    Row("send-16-coroutines", "send from 16 coroutines, confirmed", "rabbitmq", "coroutines", ("longshore",),
        _rate(factor=8.0, of="raw confirmed publish"), raw=("raw confirmed publish",), raw_count=1500,
        options={"confirm": True}),
    Row("send-unconfirmed", "send one by one, not confirmed", "rabbitmq", "one",
        ("longshore", "celery", "dramatiq"), _rate(20_000, "dramatiq", 15_900), raw=("raw publish",),
        raw_count=20_000, options={"unconfirmed": True}),
    Row("send-many-redis", "send in batches of 100", "redis", "many", _BATCHES, _rate(50_000, "streaq", 15_000)),
    Row("send-many-rabbitmq", "send in batches of 100, confirmed", "rabbitmq", "many", ("longshore",),
        _rate(factor=1.0, of="raw publish, window 100"), raw=("raw publish, window 100",), raw_count=10_000),
    Row("latency-redis", "latency of an idle worker", "redis", "latency", REDIS_PEERS,
        _wait(0.6, 1.2, "celery", 2.2), raw=("raw BRPOP wait",), raw_count=500),
    Row("latency-rabbitmq", "latency of an idle worker", "rabbitmq", "latency", RABBITMQ_PEERS,
        _wait(0.8, 1.5, "celery", 1.5), raw=("raw consume wait",), raw_count=500),
    Row("io-redis", "2,000 tasks of 50 ms I/O, 100 at once", "redis", "waiting",
        ("longshore", "longshore asyncio", "celery", "dramatiq", "huey", "taskiq", "saq", "arq", "streaq"), _IO,
        slots=100),
    Row("io-rabbitmq", "2,000 tasks of 50 ms I/O, 100 at once", "rabbitmq", "waiting",
        ("longshore", "longshore asyncio", "celery", "dramatiq", "taskiq"), _IO, slots=100),
    Row("start-redis", "start and memory, 2 processes", "redis", "start_up",
        ("longshore", "celery", "celery, default flags", "dramatiq", "huey", "taskiq", "saq", "streaq"),
        _start(50, 81), processes=2),
    Row("start-rabbitmq", "start and memory, 2 processes", "rabbitmq", "start_up",
        ("longshore", "celery", "celery, default flags", "dramatiq", "taskiq"), _start(38, 68), processes=2),
    Row("noop-1-sqlite", "no-op tasks, 1 process, NORMAL", "sqlite", "throughput", SQLITE_PEERS,
        _rate(factor=5.0, of="huey"), quick=("longshore", "huey")),
    Row("noop-2-sqlite", "no-op tasks, 2 processes, NORMAL", "sqlite", "throughput", SQLITE_PEERS, _STATED,
        processes=2),
    Row("noop-1-sqlite-full", "no-op tasks, 1 process, FULL", "sqlite", "throughput",
        ("longshore", "huey", "localqueue"), _rate(factor=1.2, of="huey"), options={"durability": "full"}),
    Row("send-sqlite", "send one by one, NORMAL", "sqlite", "one", SQLITE_PEERS, _rate(factor=1.0, of="localqueue")),
    Row("send-many-sqlite", "send in batches of 100, NORMAL", "sqlite", "many", ("longshore", "localqueue"),
        _rate(factor=0.6, of="localqueue")),
    Row("latency-sqlite", "latency of an idle worker", "sqlite", "latency", _without(SQLITE_PEERS, "celery"),
        (Measure("value", "ms", Target(factor=0.4, of="honker", lower=True), "p50"),
         Measure("p99", "ms", Target(factor=1.0, of="honker", lower=True), "p99"),
         Measure("idle_cpu", "% CPU", Target(1.0, lower=True), "idle"))),
)  # fmt: skip
