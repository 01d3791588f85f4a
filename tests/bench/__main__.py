"""``python -m tests.bench``: measure, keep the raw figures, write the table and the plots from them."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.bench import report
from tests.bench.environments import CACHE, ROOT, BuildError
from tests.bench.run import FULL, QUICK, TINY, run
from tests.bench.servers import clean_up_on_sigterm

DOCUMENT = ROOT / "docs" / "benchmarks.md"
RAW = ROOT / "docs" / "benchmarks.json"
PICTURES = ROOT / "docs" / "pictures"


def main() -> int:
    """Read the options, run, report."""
    options = _options()
    clean_up_on_sigterm()
    if options.report:
        _write(json.loads(RAW.read_text()))
        return 0
    plan = {"full": FULL, "quick": QUICK, "tiny": TINY}[options.size]
    plan = replace(plan, rows=tuple(options.row), systems=tuple(options.system), rounds=options.rounds or plan.rounds)
    try:
        with tempfile.TemporaryDirectory(prefix="longshore-bench-") as folder:
            figures = run(plan, Path(folder), lambda line: print(line, file=sys.stderr, flush=True))
    except BuildError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if options.write:
        RAW.write_text(json.dumps(figures, indent=1) + "\n")
        _write(figures)
    else:
        CACHE.mkdir(exist_ok=True)
        (CACHE / f"{options.size}.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(report.table(figures))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--size", choices=["full", "quick", "tiny"], default="full")
    parser.add_argument("--row", action="append", default=[], help="only this row, by its id; may be repeated")
    parser.add_argument("--system", action="append", default=[], help="only this system; may be repeated")
    parser.add_argument("--rounds", type=int, help="trials of each contender instead of the size's own")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md, its raw figures and plots")
    parser.add_argument("--report", action="store_true", help="write the document anew from its raw figures")
    return parser.parse_args()


def _write(figures: dict[str, object]) -> None:
    from tests.bench import plots

    DOCUMENT.write_text(report.document(figures))
    plots.write(RAW, PICTURES)


if __name__ == "__main__":
    sys.exit(main())
