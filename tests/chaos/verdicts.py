"""What was sent, what was seen and who died, in; findings, out. Pure: no clock, no file, no process.

A *death* is whatever may make a claimed message come again: a killed process, or an outage of the broker, which may
cost every process its claims. Of each death is known by when its claims must have started again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.journal import END, START, Mark

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Death:
    """`pids` is `None` where everybody may have lost claims. `most` is how many claims were held at most.

    `until` is when an outage had ended for the workers: what they started before, they could not settle.
    """

    at: float
    pids: frozenset[int] | None
    most: int
    back_by: float = float("inf")
    until: float | None = None
    in_a_row: float = 1.0
    """How long after one redelivery the next one is not late yet."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out of one run; empty `findings` mean that everything promised was kept."""

    tasks: int
    lost: int
    duplicates: int
    bound: int
    slowest: float | None
    """The longest time from a death until one of its claims started again."""
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Again:
    """A task that started once more, and the death that explains it."""

    first: Mark
    second: Mark
    death: int | None


@dataclass(frozen=True, slots=True)
class Sends:
    """What became of the sends: confirmed, unknown (raised that it cannot tell), refused (raised, not sent)."""

    confirmed: frozenset[int] = frozenset()
    unknown: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    seconds: tuple[float, ...] = field(default=())

    @property
    def all(self) -> frozenset[int]:
        """Every number that was tried."""
        return self.confirmed | self.unknown | self.refused


def judge_late(sent: Collection[int], marks: Sequence[Mark], deaths: Sequence[Death]) -> Verdict:
    """Late acknowledgment: nothing lost, nothing again without a death, at most what the dead held, back in time."""
    lost = missing(sent, marks)
    again = repeats(marks, deaths)
    slowest, late = redeliveries(marks, deaths)
    findings = [
        *_few("lost", lost),
        *_few("never sent, but ran", strangers(sent, marks)),
        *_few(
            "ran again though the process of the run before lives", [a.second.number for a in again if a.death is None]
        ),
        *excesses(again, deaths),
        *late,
    ]
    bound = sum(death.most for death in deaths)
    return Verdict(len(sent), len(lost), len(again), bound, slowest, tuple(findings))


def judge_early(sent: Collection[int], marks: Sequence[Mark], deaths: Sequence[Death]) -> Verdict:
    """Early acknowledgment: nothing starts twice; at most what was acknowledged when a process died never starts."""
    never = missing(sent, marks, kind=START)
    again = repeats(marks, deaths)
    slowest, late = redeliveries(marks, deaths)
    bound = sum(death.most for death in deaths)
    findings = [
        *_few("started twice with early acknowledgment", [a.second.number for a in again]),
        *_few("never sent, but ran", strangers(sent, marks)),
        *late,
    ]
    if len(never) > bound:
        findings.append(f"{len(never)} tasks never started, {bound} at most were acknowledged when their process died")
    return Verdict(len(sent), len(never), len(again), bound, slowest, tuple(findings))


def judge_sends(sends: Sends, marks: Sequence[Mark], deadline: float) -> list[str]:
    """A confirmed send runs; one that raised that nothing was sent does not; none takes longer than its deadline."""
    slow = [seconds for seconds in sends.seconds if seconds > deadline]
    findings = [*_few("confirmed and lost", missing(sends.confirmed, marks))]
    findings += _few("raised that nothing was sent, but ran", sorted(sends.refused & numbers(marks)))
    if slow:
        findings.append(f"{len(slow)} sends took longer than {deadline:g} s, the slowest {max(slow):.2f} s")
    return findings


def judge_due(
    due: Mapping[int, float], marks: Sequence[Mark], within: float, ready: Sequence[tuple[float, float]] = ()
) -> tuple[list[str], float]:
    """Each starts once, not before its time and within so many seconds of it; return findings and the worst lateness.

    `ready` are the spans in which no worker lived, as (began, first worker ready): what was due in one is measured from
    its end.
    """
    started = first_starts(marks)
    lateness = {number: mark.at - _due_from(due[number], ready) for number, mark in started.items() if number in due}
    early = [number for number, mark in started.items() if number in due and mark.at < due[number] - 0.001]
    late = [number for number, seconds in lateness.items() if seconds > within]
    findings = [*_few("ran before their time", early), *_few(f"ran more than {within:g} s late", late)]
    return findings, max(lateness.values(), default=0.0)


def judge_poison(
    poison: int, innocents: Collection[int], marks: Sequence[Mark], dead: Sequence[int], limit: int, uncounted: int = 0
) -> list[str]:
    """Exactly the poison is a dead letter, after exactly as many starts as are allowed, and every innocent ran.

    `uncounted` starts more are allowed where a broker may miss counting so many.
    """
    starts = sum(mark.kind == START and mark.number == poison for mark in marks)
    findings = [*_few("innocents that did not run", missing(innocents, marks))]
    if list(dead) != [poison]:
        findings.append(f"dead letters are {sorted(dead)[:SHOWN]}, not the poison {poison} alone")
    if not limit <= starts <= limit + uncounted:
        findings.append(f"the poison started {starts} times, not {limit}")
    return findings


# -- parts -------------------------------------------------------------------------------------------------------------


def numbers(marks: Iterable[Mark]) -> set[int]:
    """Return the tasks of which anything was seen."""
    return {mark.number for mark in marks}


def missing(sent: Collection[int], marks: Iterable[Mark], kind: str = END) -> list[int]:
    """Return what was sent and has no such mark."""
    return sorted(set(sent) - {mark.number for mark in marks if mark.kind == kind})


def strangers(sent: Collection[int], marks: Iterable[Mark]) -> list[int]:
    """Return what ran and was never sent."""
    return sorted(numbers(marks) - set(sent))


def without_copies(marks: Sequence[Mark], retried: int) -> list[Mark]:
    """Leave out further runs of a retry whose first run was repeated.

    Where a settlement and what it sends are not one transaction, a death in between leaves both: the task runs again,
    and so does its retry.
    """
    runs = Counter(mark.number for mark in marks if mark.kind == START)
    seen: Counter[tuple[str, int]] = Counter()
    kept = []
    for mark in sorted(marks, key=lambda mark: mark.at):
        seen[mark.kind, mark.number] += 1
        is_copy = mark.number >= retried and seen[mark.kind, mark.number] > 1
        if not (is_copy and seen[mark.kind, mark.number] <= runs[mark.number - retried]):
            kept.append(mark)
    return kept


def first_starts(marks: Iterable[Mark]) -> dict[int, Mark]:
    """Return the first start of each task."""
    found: dict[int, Mark] = {}
    for mark in marks:
        if mark.kind == START and (mark.number not in found or mark.at < found[mark.number].at):
            found[mark.number] = mark
    return found


def repeats(marks: Iterable[Mark], deaths: Sequence[Death]) -> list[Again]:
    """Return each start after the first, with the death in between that explains it, if there is one."""
    starts: dict[int, list[Mark]] = {}
    for mark in marks:
        if mark.kind == START:
            starts.setdefault(mark.number, []).append(mark)
    return [
        Again(first, second, _explaining(first, second, deaths))
        for one in starts.values()
        if len(one) > 1
        for first, second in pairwise(sorted(one, key=lambda mark: mark.at))
    ]


def excesses(again: Sequence[Again], deaths: Sequence[Death]) -> list[str]:
    """Return the deaths after which more ran again than the dead held."""
    counts = Counter(one.death for one in again if one.death is not None)
    return [
        f"{count} tasks ran again after one death, at most {deaths[index].most} were held"
        for index, count in sorted(counts.items())
        if count > deaths[index].most
    ]


def redeliveries(marks: Iterable[Mark], deaths: Sequence[Death]) -> tuple[float | None, list[str]]:
    """Return the slowest redelivery, and what came back too late. A redelivery belongs to the last death before it.

    What the dead held is claimed one by one, each alone. So one that starts after its time is late only where none
    started shortly before it: then it was not in the queue, or nobody took it.
    """
    times = [death.at for death in deaths]
    slowest, late = None, []
    before: dict[int, float] = {}
    for mark in sorted(marks, key=lambda mark: mark.at):
        index = bisect_right(times, mark.at) - 1
        if mark.kind != START or not (mark.redelivered or mark.deliveries) or index < 0:
            continue
        slowest = max(slowest or 0.0, mark.at - times[index])
        expected = max(deaths[index].back_by, before.get(index, 0.0) + deaths[index].in_a_row)
        if mark.at > expected:
            late.append((mark.at - expected, mark.number))
        before[index] = mark.at
    findings = [f"{len(late)} came back too late, the worst, {max(late)[1]}, by {max(late)[0]:.2f} s"] if late else []
    return slowest, findings


def _explaining(first: Mark, second: Mark, deaths: Sequence[Death]) -> int | None:
    for index, death in enumerate(deaths):
        last = death.at if death.until is None else death.until
        if first.at <= last and second.at >= death.at and (death.pids is None or first.pid in death.pids):
            return index
    return None


def _due_from(due: float, ready: Sequence[tuple[float, float]]) -> float:
    return max([due, *(until for since, until in ready if since <= due <= until)])


def _few(what: str, found: Sequence[int]) -> list[str]:
    """One finding for a list, with its first ones."""
    more = ", …" if len(found) > SHOWN else ""
    return [f"{len(found)} {what}: {', '.join(map(str, found[:SHOWN]))}{more}"] if found else []
