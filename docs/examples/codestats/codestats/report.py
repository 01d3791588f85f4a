"""The report of a run: its figures from the results, its failures from the dead letters. Values, and their words."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from codestats.measure import Figures
from longshore.message import DEAD_HEADER, Message, load_body


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found, and how it went."""

    expected: int
    files: int
    total: Figures
    failures: dict[str, str] = field(default_factory=dict)
    """File → ``Reason: what is wrong with it``."""
    run: dict[str, Any] = field(default_factory=dict)
    """The summary of `longshore dev`."""
    kills: int | None = None

    @property
    def reasons(self) -> Counter[str]:
        """Failures by reason."""
        return Counter(text.partition(":")[0] for text in self.failures.values())

    @property
    def complete(self) -> bool:
        """Whether every file was either measured or failed for a reason."""
        return self.files + len(self.failures) == self.expected

    def as_json(self) -> dict[str, Any]:
        """Return the report for a program."""
        return {**asdict(self), "reasons": dict(self.reasons), "complete": self.complete}


def failures_since(letters: Iterable[Message], since: float) -> dict[str, str]:
    """Return the failed files of this run. Two dead letters of a file are one failure: its task came twice."""
    failures: dict[str, str] = {}
    for letter in letters:
        epitaph = letter.headers[DEAD_HEADER]
        if datetime.fromisoformat(epitaph["at"]).timestamp() >= since:
            (name, *_), _, _ = load_body(letter)
            failures[name] = epitaph["message"]
    return failures


def lines_of(report: Report) -> list[str]:
    """Return the report for a person."""
    total, run = report.total, report.run
    chaos = [] if report.kills is None else [f"  killed     {report.kills:>9,}  worker processes, with SIGKILL"]
    return [
        "",
        f"codestats: the standard library of Python {platform.python_version()}",
        f"  files      {report.files:>9,}",
        f"  lines      {total.lines:>9,}  ({total.code:,} code, {total.comments:,} comments, {total.blank:,} blank)",
        f"  functions  {total.functions:>9,}",
        f"  classes    {total.classes:>9,}",
        f"  failures   {len(report.failures):>9,}",
        *_failure_lines(report),
        f"  tasks/s    {run.get('tasks_per_second', 0):>9,.1f}  ({run.get('tasks', 0):,} in {run.get('seconds', 0)} s)",
        f"  workers    {run.get('peak_workers', 0):>9,}  at most, from 0",
        f"  ticks      {run.get('ticks', 0):>9,}  of the schedule",
        *chaos,
    ]


def _failure_lines(report: Report) -> list[str]:
    lines = []
    for reason, count in report.reasons.most_common():
        lines.append(f"    {count:>5,}  {reason}")
        examples = [text for text in report.failures.values() if text.startswith(reason)]
        lines.append(f"           such as {examples[0].partition(': ')[2]}"[:118])
    return lines
