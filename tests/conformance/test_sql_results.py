"""Celery's database backend and ours on one file: each reads what the other stored."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from longshore.results import open_results
from longshore.results.port import ResultMeta

pytest.importorskip("sqlalchemy")
pytestmark = pytest.mark.parity("G5")

_READ = """
import json, sys
from celery import Celery
app = Celery(backend=sys.argv[1])
ok, failed, pending = (app.AsyncResult(name) for name in ("ours", "our failure", "nothing"))
print(json.dumps([ok.get(timeout=5), failed.state, repr(failed.result), failed.traceback, pending.state]))
"""
_WRITE = """
import sys
from celery import Celery
app = Celery(backend=sys.argv[1])
app.conf.result_extended = sys.argv[2] == "extended"
app.backend.store_result("ok", {"a": [1, None]}, "SUCCESS")
app.backend.store_result("failed", ValueError("no", 7), "FAILURE", traceback="Traceback")
app.backend.store_result("started", {"pid": 1}, "STARTED")
"""


def run(celery: Path, script: str, *words: str) -> str:
    done = subprocess.run(
        [celery / "bin" / "python", "-W", "ignore", "-c", script, *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("first", ["celery", "longshore"])
def test_celery_reads_ours(celery, tmp_path, first):
    """A Celery before 5.7 reads pickles alone: it gets them in tables that it has made."""
    url = f"db+sqlite:///{tmp_path}/r.db"
    if first == "celery":
        run(celery, _WRITE, url, "plain")
    elif not celery.name.endswith("5.7"):
        pytest.skip("tables that Longshore makes are those of Celery 5.7")
    results = open_results(url)
    failure = {"exc_type": "ValueError", "exc_message": ["no", 7], "exc_module": "builtins"}
    results.store(
        [
            ResultMeta(task_id="ours", status="SUCCESS", result={"a": [1, None]}, queue="q", name="t"),
            ResultMeta(task_id="our failure", status="FAILURE", result=failure, traceback="Traceback"),
        ]
    )
    results.close()
    read = json.loads(run(celery, _READ, url))
    assert read == [{"a": [1, None]}, "FAILURE", "ValueError('no', 7)", "Traceback", "PENDING"]


@pytest.mark.parametrize("table", ["extended", "plain"])
def test_we_read_and_go_on_with_celerys(celery, tmp_path, table):
    url = f"db+sqlite:///{tmp_path}/r.db"
    run(celery, _WRITE, url, table)
    results = open_results(url)
    ok, failed, started = results.fetch(["ok", "failed", "started"])
    assert (ok.status, ok.result) == ("SUCCESS", {"a": [1, None]})
    assert failed.result == {"exc_type": "ValueError", "exc_message": ["no", 7], "exc_module": "builtins"}
    assert started.status == "STARTED"
    results.store([ResultMeta(task_id="started", status="SUCCESS", result=1, queue="q")])
    assert results.fetch(["started"])[0].result == 1
    results.close()
