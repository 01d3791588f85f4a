"""``python -m tests.chaos``: run scenarios, print what was found, keep the report."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.bench import machine
from tests.chaos import report
from tests.chaos.plan import SCENARIOS, Row, Scenario, run
from tests.chaos.stage import BROKERS, Servers
from tests.support.workers import ROOT

RAW = ROOT / "docs" / "discussion" / "chaos.json"
DOCUMENT = ROOT / "docs" / "discussion" / "chaos.md"


def main() -> int:
    """Read the options, run, report; the exit code is 1 where something was found."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by way of an exception: servers end too
    if options.report:
        DOCUMENT.write_text(report.page(report.load(RAW)))
        return 0
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="longshore-chaos-", ignore_cleanup_errors=True) as folder:
        found = _run_all(options, Path(options.keep or folder))
    return 1 if found else 0


def _run_all(options: argparse.Namespace, folder: Path) -> bool:
    found = False
    with Servers(folder) as servers:
        for scenario in SCENARIOS.values():
            for broker in scenario.brokers if options.size == "full" or options.broker else scenario.ci_brokers:
                if _is_chosen(options.scenario, scenario.name) and _is_chosen(options.broker, broker):
                    found |= _run_one(scenario, broker, servers, options)
    return found


def _run_one(scenario: Scenario, broker: str, servers: Servers, options: argparse.Namespace) -> bool:
    if reason := Servers.missing(broker):
        print(f"{scenario.name} on {broker}: skipped, {reason}", flush=True)
        return False
    count = options.count or (scenario.full if options.size == "full" else scenario.ci)
    before = machine.load()
    row = run(scenario, broker, count, options.seed, servers, short=options.size == "ci")
    print(report.line(row), flush=True)
    for finding in row.outcome.findings:
        print(f"  FOUND {finding}", flush=True)
    if options.write:
        _keep(row, {**machine.describe(), "load before": round(before, 1), "load after": round(machine.load(), 1)})
    return bool(row.outcome.findings)


def _keep(row: Row, on: dict[str, object]) -> None:
    """A row replaces the one of the same scenario and broker: a report can be made in parts, each dated."""
    rows = report.load(RAW) if RAW.exists() else []
    RAW.write_text(json.dumps(report.merged(rows, report.entry(row, on)), indent=1) + "\n")
    DOCUMENT.write_text(report.page(report.load(RAW)))


def _is_chosen(chosen: list[str], name: str) -> bool:
    return not chosen or name in chosen


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--size", choices=["full", "ci"], default="full")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="repeat a run's choices"
    )
    parser.add_argument("--scenario", action="append", default=[], choices=list(SCENARIOS), help="may be repeated")
    parser.add_argument("--broker", action="append", default=[], choices=BROKERS, help="may be repeated")
    parser.add_argument("--count", type=int, help="cycles (messages for `delayed`) instead of the size's own")
    parser.add_argument("--write", action="store_true", help="keep the rows in docs/discussion/chaos.json and chaos.md")
    parser.add_argument("--report", action="store_true", help="write the document anew from its raw figures")
    parser.add_argument("--keep", help="a folder for journals and logs, kept")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
