"""What a worker loads before its first task: start-up time and memory are features."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

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
