"""The example measures the whole standard library; its figures are a plain loop's, whoever is killed on the way."""

import json
import subprocess
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs/examples/codestats"
PLAIN = """
import json
from dataclasses import asdict
from codestats.plain import measure_all
outcome = measure_all()
print(json.dumps({"files": outcome.files, "total": asdict(outcome.total), "reasons": outcome.failures}))
"""


@pytest.fixture(scope="module")
def plain() -> dict:
    """The figures of the plain loop, measured in a process of its own, as the tasks are."""
    result = subprocess.run([sys.executable, "-c", PLAIN], cwd=EXAMPLE, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def codestats(state: Path, *options: str) -> dict:
    command = [sys.executable, "-m", "codestats", "--state", str(state), "--json", "--timeout", "200", *options]
    result = subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr + result.stdout
    return json.loads(result.stdout)


def test_agrees_with_a_plain_loop(tmp_path, plain):
    report = codestats(tmp_path)
    assert {name: report[name] for name in plain} == plain
    if find_spec("test.test_ast"):  # Debian keeps the library's own tests, and the files that fail, in another package
        assert report["files"] > 1000
        assert sum(plain["reasons"].values()) > 0
    assert report["complete"]
    assert report["expected"] == report["files"] + sum(plain["reasons"].values())
    run = report["run"]
    assert run["ticks"] >= 1
    assert 1 < run["peak_workers"] <= 4, "it scaled, from 0"
    assert run["tasks"] == report["expected"] + 1 + run["ticks"], "each task once: the files, the scan, the ticks"
    assert run["failed"] == sum(plain["reasons"].values())


def test_agrees_with_a_plain_loop_while_workers_are_killed(tmp_path, plain):
    report = codestats(tmp_path, "--chaos", "1.0")
    assert {name: report[name] for name in plain} == plain
    assert report["kills"] >= 1


def test_failures_say_what_is_wrong_with_the_file(tmp_path):
    """Files that do not decode or parse; not every Python comes with those of its own."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        from codestats.measure import Figures, InvalidSyntax, Undecodable, UnknownEncoding, measure_file
    finally:
        sys.path.remove(str(EXAMPLE))
    texts = {
        "good.py": b"# a\n\ndef f():\n    class C: pass\n",
        "encoding.py": b"# coding: klingon\n",
        "bytes.py": b"# coding: utf-8\nx = 1\ny = '" + b"\xff" * 9000 + b"'\n",
        "syntax.py": b"print 'hello'\n",
        "nul.py": b"x = '\0'\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    assert asdict(measure_file("good.py", tmp_path)) == asdict(Figures(4, 2, 1, 1, 1, 1))
    for name, error, said in (
        ("encoding.py", UnknownEncoding, "encoding.py: unknown encoding"),
        ("bytes.py", Undecodable, "bytes.py: byte"),
        ("syntax.py", InvalidSyntax, "syntax.py, line 1: Missing parentheses"),
        ("nul.py", InvalidSyntax, "nul.py"),
    ):
        with pytest.raises(error, match=said):
            measure_file(name, tmp_path)
