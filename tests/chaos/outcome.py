"""What a scenario hands to the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tests.chaos.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the report. `None` is a figure that this scenario has not."""

    cycles: int
    tasks: int
    lost: int
    duplicates: int
    bound: int | None = None
    """How many duplicates the killed held at most."""
    slowest: float | None = None
    """Seconds until the slowest redelivery."""
    promised: float | None = None
    findings: tuple[str, ...] = ()
    figures: dict[str, float | int | str] = field(default_factory=dict)
    """What else was measured, by name."""

    @classmethod
    def of(cls, verdict: Verdict, cycles: int, findings: Iterable[str] = (), **figures: float | str) -> Outcome:
        """From a verdict and what the scenario itself found."""
        return cls(
            cycles,
            verdict.tasks,
            verdict.lost,
            verdict.duplicates,
            verdict.bound,
            verdict.slowest,
            findings=(*verdict.findings, *findings),
            figures=figures,
        )

    def promising(self, seconds: float) -> Outcome:
        """Say what was promised for the slowest redelivery."""
        return replace(self, promised=seconds)


def together(parts: list[Outcome]) -> Outcome:
    """Join what several lanes or rounds of one scenario found: sums, and the worst of each figure."""
    slowest = [part.slowest for part in parts if part.slowest is not None]
    bounds = [part.bound for part in parts if part.bound is not None]
    promised = [part.promised for part in parts if part.promised is not None]
    figures: dict[str, float | int | str] = {}
    for part in parts:
        for name, value in part.figures.items():
            figures[name] = max(value, figures.get(name, value))  # type: ignore[type-var]
    return Outcome(
        cycles=sum(part.cycles for part in parts),
        tasks=sum(part.tasks for part in parts),
        lost=sum(part.lost for part in parts),
        duplicates=sum(part.duplicates for part in parts),
        bound=sum(bounds) if bounds else None,
        slowest=max(slowest, default=None),
        promised=max(promised, default=None),
        findings=tuple(finding for part in parts for finding in part.findings),
        figures=figures,
    )
