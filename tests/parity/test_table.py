import pytest

from tests.parity.rows import BROKERS, ROWS, WITHOUT_BROKER
from tests.parity.table import Proof, broker_of, render, verdicts
from tests.support.workers import SOURCES


def verdict(row, *proofs):
    made = [Proof(row, test, broker_of(test), outcome) for test, outcome in proofs]
    return next(verdict for verdict in verdicts(made) if verdict.row == row)


@pytest.mark.parametrize(
    ("test", "broker"),
    [
        ("tests/worker/test_worker.py::test_x[sqlite]", "sqlite"),
        ("tests/brokers/test_redis.py::test_x", "redis"),
        ("tests/brokers/test_rabbitmq_contract.py::TestQuorum::test_x", "rabbitmq"),
        ("tests/core/test_settle.py::test_x", None),
        ("tests/worker/test_x.py::test_both[redis-rabbitmq]", None),
    ],
)
def test_the_broker_of_a_test_is_in_its_id(test, broker):
    assert broker_of(test) == broker


@pytest.mark.parametrize(
    ("row", "proofs", "holds"),
    [
        ("C4", [], False),
        ("C4", [("t[sqlite]", "passed")], False),
        ("C4", [("t[sqlite]", "passed"), ("t[redis]", "passed"), ("t[rabbitmq]", "passed")], True),
        ("C4", [("t[sqlite]", "passed"), ("t[redis]", "skipped"), ("t[rabbitmq]", "passed")], False),
        ("C4", [("t[sqlite]", "passed"), ("t[redis]", "passed"), ("t[rabbitmq]", "failed")], False),
        ("C4", [("t", "passed")], False),
        ("B2", [("t", "passed")], True),
        ("B2", [("t[redis]", "passed")], True),
        ("B2", [("t", "passed"), ("u", "failed")], False),
        ("B2", [("t", "skipped")], False),
        ("B2", [], False),
    ],
)
def test_a_row_holds_when_a_test_proves_it_on_every_broker_that_has_a_part(row, proofs, holds):
    assert verdict(row, *proofs).holds is holds


def test_every_row_is_in_the_table_and_what_is_not_proven_is_said():
    table = render(verdicts([Proof("B2", "t", None, "passed")]))
    assert [line.split()[0] for line in table.splitlines()[1:]] == list(ROWS)
    assert table.count("NOT PROVEN") == len(ROWS) - 1


def test_the_rows_without_a_broker_are_rows():
    assert ROWS.keys() >= WITHOUT_BROKER
    assert len(BROKERS) == 3


@pytest.fixture
def project(pytester, monkeypatch):
    """A folder with tests whose pytest knows this plugin."""
    monkeypatch.setenv("PYTHONPATH", SOURCES)
    pytester.makeconftest("pytest_plugins = ['tests.parity.plugin']")
    pytester.makeini("[pytest]\nmarkers = parity(id): a row")
    return pytester


def test_a_run_prints_the_table_and_fails_for_a_row_without_a_test(project):
    project.makepyfile(
        "import pytest\n@pytest.mark.parity('B2')\ndef test_a(): pass\ndef test_unmarked(): assert False\n"
    )
    run = project.runpytest_subprocess("--parity", "-p", "no:cacheprovider")
    run.stdout.fnmatch_lines(["B2 *1*yes*", "B3 *NOT PROVEN*", f"1 of {len(ROWS)} rows are proven"])
    assert run.ret == 1


def test_a_mark_with_an_unknown_row_is_an_error(project):
    project.makepyfile("import pytest\n@pytest.mark.parity('Z9')\ndef test_a(): pass\n")
    run = project.runpytest_subprocess("-p", "no:cacheprovider")
    run.stderr.fnmatch_lines(["*no row Z9 in tests/parity/rows.py*"])
    assert run.ret == 4
