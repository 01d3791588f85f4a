"""An operator that cannot start ends with one line that says what is wrong and what to do, and no traceback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.apiserver import ApiServer, running_api_server


def start(kubeconfig: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "longshore_operator.cli.main", "run", "--http-port", "0", *options]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def only_line(result: subprocess.CompletedProcess[str]) -> str:
    lines = (result.stdout + result.stderr).splitlines()
    assert len(lines) == 1, "\n".join(lines)
    return lines[0]


def account_without_rights(server: ApiServer, namespace: str, folder: Path) -> Path:
    """Return the kubeconfig of a service account that nobody has given a role."""
    server.kubectl("-n", namespace, "create", "serviceaccount", "nobody")
    token = server.kubectl("-n", namespace, "create", "token", "nobody").stdout.strip()
    config = json.loads(server.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    file = folder / "nobody.json"
    file.write_text(json.dumps(config))
    return file


def test_missing_crds(tmp_path: Path) -> None:
    with running_api_server(tmp_path) as server:
        result = start(server.kubeconfig)
    line = only_line(result)
    assert result.returncode == 1
    assert "CRDs are not installed" in line
    assert "kubectl apply --server-side -f crds/" in line


def test_missing_rights(api_server: ApiServer, namespace: str, tmp_path: Path) -> None:
    result = start(account_without_rights(api_server, namespace, tmp_path))
    line = only_line(result)
    assert result.returncode == 1
    assert f"system:serviceaccount:{namespace}:nobody" in line
    assert 'cannot list resource "taskqueues"' in line
    assert "rbac.create" in line


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
    }
    file = tmp_path / "config"
    file.write_text(json.dumps(config))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = start(file, "--http-host", "127.0.0.1", "--http-port", port)
    assert result.returncode == 2
    assert f"port {port} cannot be used for probes" in only_line(result)
