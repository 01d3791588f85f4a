"""What a worker loads before its first task: start-up time and memory are features."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.support.workers import ROOT, run_command, wait_for

FORBIDDEN = {
    "pydantic": "settings are a plain class",
    "prometheus_client": "metrics are for those who ask for a port",
    "http.server": "probes are for those who ask for a port",
    "kombu": "only special JSON values need it",
    "rich": "nobody looks at a worker's terminal",
    "kopf": "a worker knows nothing of Kubernetes",
    "kubernetes": "a worker knows nothing of Kubernetes",
    "asyncio": "only coroutine tasks need it",
    "longshore_operator": "the operator imports the runtime, never the other way round",
}
PROGRAM = """
import json, sys
from longshore.cli.worker import worker
from longshore.cli.loading import load_app
import longshore.worker.supervisor
app = load_app("tests.worker.tasks_for_tests:app")
from longshore.brokers.port import QueueSpec
app.broker.declare([QueueSpec("q")])
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    database = tmp_path_factory.mktemp("start") / "b.db"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={"LONGSHORE_BROKER_URL": f"sqlite:///{database}", "PATH": "/usr/bin"},
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", FORBIDDEN)
def test_a_worker_does_not_import(module, loaded):
    assert module not in loaded, FORBIDDEN[module]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="a PID namespace needs root and unshare")
def test_a_worker_runs_as_process_1_of_a_container(tmp_path):
    """Process 1 is also who adopts orphans: its children must not take it for a stranger."""
    effects, broker = tmp_path / "effects", f"sqlite:///{tmp_path}/b.db"
    environ = {**os.environ, "EFFECTS": str(effects), "LONGSHORE_BROKER_URL": broker, "PYTHONPATH": str(ROOT)}
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-m", "longshore"]
    sent = run_command("call", "tests.worker.tasks_for_tests.add", "-a", "[1, 2]", "-Q", "q", environ=environ)
    assert sent.returncode == 0, sent.stderr
    worker = subprocess.Popen([*command, "worker", "tests.worker.tasks_for_tests:app", "-Q", "q"], env=environ)
    try:
        wait_for("the task ran", effects.exists)
    finally:
        worker.kill()
        worker.wait()
