"""A real API server for tests, without nodes and controllers: etcd and kube-apiserver on ports of their own.

Objects are validated, defaulted, watched and stored as in any cluster; nothing acts on them (no Deployment ever gets a
pod). `tests/operator/conftest.py` makes the fixtures known. The processes end with the test session, by pid, and with
the test process itself should it be killed.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BINARIES = REPOSITORY / ".lab-bin"
CRDS = REPOSITORY / "crds"

_TOKEN = "token-of-this-test-session"
_STARTED_WITHIN = 60.0
_PR_SET_PDEATHSIG = 1
_namespaces = itertools.count(1)
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class ApiServer:
    """A running API server; who holds it is its cluster-admin."""

    folder: Path
    url: str
    kubeconfig: Path

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl; with `check` a failure fails the test with what kubectl said."""
        env = {
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.folder / "cache"),
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(
            [BINARIES / "kubectl", *args], input=stdin, env=env, text=True, capture_output=True, timeout=60
        )
        if check and done.returncode != 0:
            pytest.fail(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done

    def apply(self, *documents: dict[str, Any], namespace: str = "default", check: bool = True) -> str:
        """Apply manifests; return all that kubectl said."""
        text = "\n---\n".join(json.dumps(document) for document in documents)
        done = self.kubectl("apply", "-n", namespace, "-f", "-", stdin=text, check=check)
        return done.stdout + done.stderr

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        """Read one object."""
        loaded: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json").stdout)
        return loaded

    def patch_status(self, kind: str, name: str, status: dict[str, Any], namespace: str = "default") -> None:
        """Write a status as an operator does, through the subresource."""
        patch = json.dumps({"status": status})
        self.kubectl("patch", kind, name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


@pytest.fixture(scope="session")
def bare_api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server without Longshore's CRDs."""
    missing = [name for name in ("etcd", "kube-apiserver", "kubectl") if not (BINARIES / name).exists()]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} in {BINARIES.name}/: `make lab` builds them where Go is there")
    with running_api_server(tmp_path_factory.mktemp("apiserver")) as server:
        yield server


@pytest.fixture(scope="session")
def api_server(bare_api_server: ApiServer) -> ApiServer:
    """An API server that knows the three kinds."""
    bare_api_server.kubectl("apply", "--server-side", "-f", str(CRDS))
    bare_api_server.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
    return bare_api_server


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    """A namespace that is this test's alone."""
    name = f"test-{os.getpid()}-{next(_namespaces)}"
    api_server.kubectl("create", "namespace", name)
    return name


@contextmanager
def running_api_server(folder: Path) -> Iterator[ApiServer]:
    """Start etcd and kube-apiserver in a folder; both are gone when the block ends."""
    etcd, peer, port = free_ports(3)
    server = ApiServer(folder, f"https://127.0.0.1:{port}", folder / "kubeconfig")
    _write_identity(server)
    with ExitStack() as stack:
        stack.enter_context(_process(folder, "etcd", _etcd_flags(folder, etcd, peer)))
        api = stack.enter_context(_process(folder, "kube-apiserver", _api_server_flags(folder, etcd, port)))
        _wait(lambda: server.kubectl("get", "--raw", "/readyz", check=False).returncode == 0, api, folder)
        _wait(lambda: server.kubectl("get", "namespace", "default", check=False).returncode == 0, api, folder)
        yield server


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on. All are held until all are known, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _write_identity(server: ApiServer) -> None:
    """One self-signed certificate is the server's and its own authority; the admin comes with a token."""
    certificate = server.folder / "server.crt"
    usage = "keyUsage=critical,digitalSignature,keyCertSign"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=longshore-test", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", usage,
         "-keyout", server.folder / "server.key", "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    key = ["-in", server.folder / "server.key", "-out", server.folder / "server.pub"]
    subprocess.run(["openssl", "pkey", "-pubout", *key], check=True, capture_output=True)
    (server.folder / "tokens.csv").write_text(f'{_TOKEN},admin,admin,"system:masters"\n')
    server.kubeconfig.write_text(json.dumps(_kubeconfig(server.url, certificate)))


def _kubeconfig(url: str, certificate: Path) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(certificate)}}],
        "users": [{"name": "admin", "user": {"token": _TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin", "namespace": "default"}}],
    }


def _etcd_flags(folder: Path, client: int, peer: int) -> list[str]:
    return [
        f"--data-dir={folder}/etcd",
        "--unsafe-no-fsync",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
    ]


def _api_server_flags(folder: Path, etcd: int, port: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--tls-cert-file={folder}/server.crt",
        f"--tls-private-key-file={folder}/server.key",
        f"--service-account-key-file={folder}/server.pub",
        f"--service-account-signing-key-file={folder}/server.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",  # no controller is there that would make the account `default`
    ]


@contextmanager
def _process(folder: Path, program: str, flags: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{program}.log").open("wb") as log:
        process = subprocess.Popen(
            [BINARIES / program, *flags],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one C call, no lock
        )  # fmt: skip
    try:
        yield process
    finally:
        _end(process)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:  # it holds nothing that is worth a longer wait
        process.kill()
        process.wait()


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _STARTED_WITHIN
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            log = (folder / "kube-apiserver.log").read_text(errors="replace")
            pytest.fail(f"the API server did not start:\n{log[-2000:]}")
        time.sleep(0.2)
