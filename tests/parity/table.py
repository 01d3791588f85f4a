"""From what tests said to a verdict for each row. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.parity.rows import BROKERS, ROWS, WITHOUT_BROKER

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True, slots=True)
class Proof:
    """One test of a row: its id, on which broker (`None`: without one, or on its own), and how it ended."""

    row: str
    test: str
    broker: str | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row of the table."""

    row: str
    tests: int
    outcomes: Mapping[str, str] = field(default_factory=dict)
    """By broker: passed, failed, skipped, or missing."""

    @property
    def holds(self) -> bool:
        """Whether the row is proven, on every broker where brokers have a part."""
        if FAILED in self.outcomes.values():
            return False
        if self.row in WITHOUT_BROKER:
            return PASSED in self.outcomes.values()
        return all(self.outcomes[broker] == PASSED for broker in BROKERS)


def broker_of(test: str) -> str | None:
    """Tell from a test's id which broker it ran on."""
    name = test.lower()
    found = [broker for broker in BROKERS if broker in name]
    return found[0] if len(found) == 1 else None


def verdicts(proofs: Iterable[Proof]) -> list[Verdict]:
    """Return a verdict for every row, in the rows' order."""
    by_row: dict[str, list[Proof]] = {row: [] for row in ROWS}
    for proof in proofs:
        by_row[proof.row].append(proof)
    return [_verdict(row, found) for row, found in by_row.items()]


def _verdict(row: str, proofs: list[Proof]) -> Verdict:
    places = ["any", *BROKERS] if any(proof.broker is None for proof in proofs) else [*BROKERS]
    outcomes = {place: _outcome([p for p in proofs if (p.broker or "any") == place]) for place in places}
    return Verdict(row, len({proof.test.partition("[")[0] for proof in proofs}), outcomes)


def _outcome(proofs: list[Proof]) -> str:
    outcomes = {proof.outcome for proof in proofs}
    return next((outcome for outcome in (FAILED, PASSED, SKIPPED) if outcome in outcomes), "missing")


def render(table: Iterable[Verdict]) -> str:
    """Return the table as text."""
    marks = {PASSED: "yes", FAILED: "FAILS", SKIPPED: "skipped", "missing": "-"}
    lines = [f"{'row':<5}{'tests':>5}  {'any':<8}{''.join(f'{broker:<10}' for broker in BROKERS)} "]
    for verdict in table:
        cells = [marks.get(verdict.outcomes.get(place, "missing"), "-") for place in ("any", *BROKERS)]
        columns = f"{cells[0]:<8}{''.join(f'{cell:<10}' for cell in cells[1:])}"
        note = "" if verdict.holds else "NOT PROVEN  "
        lines.append(f"{verdict.row:<5}{verdict.tests:>5}  {columns} {note}{ROWS[verdict.row]}")
    return "\n".join(lines)
