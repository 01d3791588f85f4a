"""Collects, in any run of pytest, which rows its tests prove; with ``--parity`` prints the table at the end."""

from __future__ import annotations

import pytest

from tests.parity.rows import ROWS
from tests.parity.table import FAILED, PASSED, SKIPPED, Proof, broker_of, render, verdicts

PROPERTY = "parity"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parity", action="store_true", help="run the tests of Celery's rows only, and print the table")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Parity(config.getoption("--parity")), "longshore-parity")


class Parity:
    """One run's proofs."""

    def __init__(self, asked: bool) -> None:
        self._asked = asked
        self._proofs: list[Proof] = []

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        for item in items:
            rows = tuple(row for mark in item.iter_markers("parity") for row in mark.args)
            if unknown := set(rows) - ROWS.keys():
                raise pytest.UsageError(f"{item.nodeid}: no row {', '.join(sorted(unknown))} in tests/parity/rows.py")
            if rows:
                item.user_properties.append((PROPERTY, rows))  # travels with the report, from another lane too
        if self._asked:
            others = [item for item in items if not _rows(item)]
            config.hook.pytest_deselected(items=others)
            items[:] = [item for item in items if _rows(item)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        outcome = {"passed": PASSED, "skipped": SKIPPED}.get(report.outcome, FAILED)
        for row in _rows(report):
            self._proofs.append(Proof(row, report.nodeid, broker_of(report.nodeid), outcome))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._asked:
            table = verdicts(self._proofs)
            proven = sum(verdict.holds for verdict in table)
            terminalreporter.section("parity with Celery")
            terminalreporter.write_line(render(table))
            terminalreporter.write_line(f"{proven} of {len(table)} rows are proven")

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._asked and exitstatus == 0 and not all(verdict.holds for verdict in verdicts(self._proofs)):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _rows(one: pytest.Item | pytest.TestReport) -> tuple[str, ...]:
    return tuple(row for name, rows in one.user_properties if name == PROPERTY for row in rows)
