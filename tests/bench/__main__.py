"""``python -m tests.bench``: measure, keep the raw figures, write the document and the plots from them.

Without `--write` nothing but the ignored folder changes. `--curves` measures the curves instead of the table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench import curve_report, curves, report
from tests.bench.environments import CACHE, ROOT, BuildError
from tests.bench.run import FULL, MEDIUM, QUICK, TINY, run
from tests.bench.servers import clean_up_on_sigterm

DOCUMENT = ROOT / "docs" / "benchmarks.md"
RAW = ROOT / "docs" / "benchmarks.json"
RAW_CURVES = ROOT / "docs" / "benchmarks-curves.json"
PICTURES = ROOT / "docs" / "pictures"
TIME_GOES = Path(__file__).parent / "where-the-time-goes.md"
"""Written by hand, after a look at profiles; stands in the document as it is."""
PLANS = {"full": FULL, "medium": MEDIUM, "quick": QUICK, "tiny": TINY}


def main() -> int:
    """Read the options, run, report."""
    options = _options()
    clean_up_on_sigterm()
    if options.report:
        _write()
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="longshore-bench-") as folder:
            figures = (_curves if options.curves else _table)(options, Path(folder), _tell)
    except BuildError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    _keep(figures, options)
    print(curve_report.section(figures) if options.curves else report.table(figures))
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _table(options: argparse.Namespace, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    plan = PLANS[options.size]
    plan = replace(plan, rows=tuple(options.row), systems=tuple(options.system), rounds=options.rounds or plan.rounds)
    return run(plan, folder, tell)


def _curves(options: argparse.Namespace, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    extent = curves.TINY if options.size == "tiny" else curves.FULL
    return curves.run(extent, folder, tell, tuple(options.curve), tuple(options.broker))


def _keep(figures: dict[str, Any], options: argparse.Namespace) -> None:
    CACHE.mkdir(exist_ok=True)
    kept = CACHE / f"{'curves-' if options.curves else ''}{options.size}.json"
    if options.write:
        kept = RAW_CURVES if options.curves else RAW
    kept.write_text(json.dumps(figures, indent=1) + "\n")
    if options.write:
        _write()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--size", choices=list(PLANS), default="medium")
    parser.add_argument("--row", action="append", default=[], help="only this row, by its id; may be repeated")
    parser.add_argument("--system", action="append", default=[], help="only this system; may be repeated")
    parser.add_argument("--rounds", type=int, help="trials of each contender instead of the size's own")
    parser.add_argument("--curves", action="store_true", help="the curves (tiny, or whole with any other size)")
    parser.add_argument("--curve", action="append", default=[], choices=list(curves.CURVES), help="only this curve")
    parser.add_argument("--broker", action="append", default=[], choices=curves.BROKERS, help="its points of this one")
    parser.add_argument("--write", action="store_true", help="keep the raw figures in docs, and write the document")
    parser.add_argument("--report", action="store_true", help="write the document anew from its raw figures")
    return parser.parse_args()


def _write() -> None:
    """Write the document from whatever raw figures there are; without those of the table there is none."""
    from tests.bench import plots

    figures, points = _read(RAW), _read(RAW_CURVES)
    if figures:
        words = TIME_GOES.read_text() if TIME_GOES.exists() else ""
        DOCUMENT.write_text(report.document(figures, words, curve_report.section(points) if points else ""))
    plots.write(figures, points, PICTURES)


def _read(raw: Path) -> dict[str, Any] | None:
    return json.loads(raw.read_text()) if raw.exists() else None


if __name__ == "__main__":
    sys.exit(main())
