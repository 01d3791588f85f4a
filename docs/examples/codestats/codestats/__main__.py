"""Runs the example from end to end: sends the work, lets `longshore dev` do it, prints the report."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from codestats.chaos import Chaos
from codestats.measure import source_files
from codestats.report import Report, failures_since, lines_of
from codestats.results import Results

EXAMPLE = Path(__file__).resolve().parent.parent
DEAD_LETTERS = "measure.dead"
CHAOS_SECONDS = 2.0
PEEK_LIMIT = 100_000


def main() -> None:
    """Exit 0 when every file is accounted for."""
    options = _options()
    state = options.state.absolute()
    state.mkdir(parents=True, exist_ok=True)
    database = state / "codestats.db"
    for leftover in state.glob("codestats.db*"):
        leftover.unlink()
    os.environ["LONGSHORE_BROKER_URL"] = f"sqlite:///{state / 'broker.db'}"
    os.environ["CODESTATS_DATABASE"] = str(database)
    started_at = time.time()
    _send_work()
    run, kills, code = _run(state, options.chaos, options.timeout)
    if not run:
        sys.exit(code)  # it could not start, and has said why
    report = _report(database, started_at, run, kills)
    print(json.dumps(report.as_json()) if options.json else "\n".join(lines_of(report)))
    if code == 0 and not report.complete:
        print(f"{report.files} files and {len(report.failures)} failures are not {report.expected}", file=sys.stderr)
    sys.exit(code or not report.complete)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("codestats", description="Measure the standard library with longshore.")
    parser.add_argument("--state", type=Path, default=Path(".longshore"), help="state folder (default: .longshore)")
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="give up after (default: 600)")
    parser.add_argument("--json", action="store_true", help="print the report for a program (default: for a person)")
    parser.add_argument(
        "--chaos", type=float, nargs="?", const=CHAOS_SECONDS, metavar="SECONDS",
        help=f"kill a random worker process every SECONDS (default: off; without a number every {CHAOS_SECONDS:g})",
    )  # fmt: skip
    return parser.parse_args()


def _send_work() -> None:
    """The queue keeps the work until workers come: they are started by what is in it."""
    from codestats.tasks import app, scan

    scan.delay()
    app.close()


def _run(state: Path, chaos_seconds: float | None, timeout: float) -> tuple[dict[str, object], int | None, int]:
    """Run `longshore dev` until all is done; return its summary, the kills, and its exit code."""
    command = [
        sys.executable, "-m", "longshore", "dev", str(EXAMPLE / "manifests"), "--cwd", str(EXAMPLE),
        "--state", str(state), "--until-idle", "--timeout", str(timeout), "--output", "json",
    ]  # fmt: skip
    dev = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to both; `longshore dev` drains, we wait
    chaos = Chaos(dev.pid, chaos_seconds) if chaos_seconds else None
    if chaos is not None:
        chaos.start()
    try:
        output, _ = dev.communicate()
    finally:
        dev.terminate()
        if chaos is not None:
            chaos.stop()
    return json.loads(output or "{}"), chaos.kills if chaos else None, dev.returncode


def _report(database: Path, started_at: float, run: dict[str, object], kills: int | None) -> Report:
    from codestats.tasks import app

    results = Results(database)
    failures = failures_since(app.broker.peek(DEAD_LETTERS, PEEK_LIMIT), started_at)
    app.close()
    return Report(
        expected=len(list(source_files())),
        files=results.files(),
        total=results.total(),
        failures=failures,
        run={**run, "ticks": results.ticks()},
        kills=kills,
    )


if __name__ == "__main__":
    main()
