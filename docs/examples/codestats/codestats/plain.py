"""The same figures without Longshore: a plain loop over the same files. Run it as ``python -m codestats.plain``."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from codestats.measure import Figures, NotMeasurable, measure_file, source_files


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run over the library found. `failures` counts files by the class of their error."""

    files: int
    total: Figures
    failures: Counter[str] = field(default_factory=Counter)


def measure_all() -> Outcome:
    """Measure every file, one after the other."""
    files, total, failures = 0, Figures(), Counter[str]()
    for name in source_files():
        try:
            total += measure_file(name)
        except NotMeasurable as error:
            failures[type(error).__name__] += 1
        else:
            files += 1
    return Outcome(files, total, failures)


def main() -> None:
    """Print the figures of the plain loop."""
    started = time.perf_counter()
    outcome = measure_all()
    seconds = time.perf_counter() - started
    print(f"{outcome.files} files, {outcome.total.lines} lines, {outcome.failures.total()} failures in {seconds:.1f} s")
    print(outcome.total, dict(outcome.failures))


if __name__ == "__main__":
    main()
