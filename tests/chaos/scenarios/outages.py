"""The broker restarts under load, or the network to it is cut or goes silent: sends and workers live through it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import takewhile

from tests.chaos.journal import Mark
from tests.chaos.outcome import Outcome
from tests.chaos.senders import Senders
from tests.chaos.stage import LOSS_SECONDS, PROCESSES, READ_AHEAD, Server, Stage
from tests.chaos.verdicts import SHOWN, Death, Sends, judge_late, judge_sends, numbers
from tests.support.proxy import Proxy

SEND_SECONDS = 5.0
SEND_SLACK = 1.0
"""A sender's thread on a busy machine."""
AGAIN_SECONDS = 15.0
EVERYBODY_SECONDS = 5.0
"""One process may consume again while another one has not noticed yet that its claims are gone."""
HOLE_LEASES = (0.1, 1.2)
"""Shorter and longer than the leases and heartbeats."""

Harm = Callable[[int], None]


def restart(stage: Stage, cycles: int) -> Outcome:
    """The server ends by SIGTERM and by SIGKILL in turn, and starts again."""
    server: Server = stage.servers.server(stage.kind, durable=True)

    def harm(cycle: int) -> None:
        server.stop() if cycle % 2 == 0 else server.kill()
        time.sleep(stage.rng.uniform(0.0, 1.0))  # down for a while
        server.start()

    return _under_load(stage, cycles, stage.url, harm)


def cut(stage: Stage, cycles: int) -> Outcome:
    """A proxy cuts all connections, or swallows all bytes for a while and then goes on or cuts."""
    port = stage.servers.server(stage.kind, durable=True).port
    with Proxy(port) as proxy:

        def harm(cycle: int) -> None:
            if cycle % 3:
                proxy.hold()
                time.sleep(stage.lease * stage.rng.uniform(*HOLE_LEASES))
            if cycle % 3 != 1:
                proxy.cut()
            proxy.go_on()

        return _under_load(stage, cycles, stage.url.replace(f":{port}/", f":{proxy.port}/"), harm)


def _under_load(stage: Stage, cycles: int, url: str, harm: Harm) -> Outcome:
    deaths: list[Death] = []
    slowest = 0.0
    crew = stage.worker(url=url)
    with Senders(stage, url) as senders:
        _fresh(stage, senders, time.time())
        for cycle in range(cycles):
            began = time.time()
            harm(cycle + stage.lane)
            over = time.time()
            seconds = _fresh(stage, senders, over)
            slowest = max(slowest, seconds)
            deaths.append(Death(began, None, READ_AHEAD * PROCESSES, until=max(time.time(), over + EVERYBODY_SECONDS)))
    stage.all_ended(list(senders.confirmed), LOSS_SECONDS)
    stage.finish(crew)
    return _judged(stage, senders, deaths, slowest)


def _fresh(stage: Stage, senders: Senders, since: float) -> float:
    """Wait until something has run that was sent after this time; return how long that took."""

    def has_run() -> bool:
        recent = takewhile(lambda sent: sent[1] > since, reversed(list(senders.confirmed.items())))
        return any(number in stage.journal.ended for number, _ in recent)

    if not stage.journal.wait(has_run, LOSS_SECONDS):
        stage.findings.append(f"nothing that was sent ran within {LOSS_SECONDS:g} s")
    return time.time() - since


def _lies(sends: Sends, marks: Sequence[Mark]) -> list[int]:
    return sorted(sends.refused & numbers(marks))


def _judged(stage: Stage, senders: Senders, deaths: list[Death], slowest: float) -> Outcome:
    sends, marks = senders.sends(), stage.journal.marks
    findings = [
        *senders.surprises,
        *judge_sends(sends, marks, SEND_SECONDS + SEND_SLACK * stage.stretched()),
        *stage.findings,
    ]
    findings += [f"{number} ran, and had raised {senders.refused[number]}" for number in _lies(sends, marks)[:SHOWN]]
    if slowest > AGAIN_SECONDS:
        findings.append(f"workers consumed again only after {slowest:.1f} s")
    verdict = judge_late(sorted(sends.confirmed | (sends.all & numbers(marks))), marks, deaths)
    figures = {
        "sends that raised": len(sends.refused) + len(sends.unknown),
        "slowest send, s": round(max(sends.seconds), 2),
        "consuming again after, s": round(slowest, 2),
    }
    return Outcome.of(verdict, len(deaths), findings, **figures)
