"""etcd, API server, controller manager, scheduler and cluster DNS, as processes of this machine."""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path

from tests.lab.network import HOST, SERVICE_NETWORK
from tests.lab.paths import BINARIES
from tests.lab.pki import Authority
from tests.lab.processes import Processes
from tests.lab.waiting import wait_until

PARTS = ("dns", "scheduler", "controller-manager", "apiserver", "etcd")
"""In the order in which they are ended."""

_COREFILE = f""".:53 {{
    bind {HOST}
    errors
    kubernetes cluster.local {{
        kubeconfig %s lab
    }}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""


class ControlPlane:
    """The control plane of one lab, with its state in a folder."""

    def __init__(self, state: Path, processes: Processes) -> None:
        self._state = state
        self._processes = processes
        self._authority = Authority(state)

    def start(self) -> None:
        """Start everything that does not need rights in the cluster, and return when the API server is ready."""
        self._authority.create()
        etcd = self._start_etcd()
        self._processes.start("apiserver", BINARIES / "kube-apiserver", *self._api_server_options(etcd))
        wait_until("the API server", self.ready, 60, meanwhile=self._require_both)
        for name, options in (("controller-manager", self._controller_options()), ("scheduler", [])):
            self._processes.start(name, BINARIES / f"kube-{name}", *self._common_options(name), *options)

    def start_dns(self) -> None:
        """Start cluster DNS on the bridge's address; its user needs to be allowed to read Services by now."""
        corefile = self._state / "Corefile"
        corefile.write_text(_COREFILE % (self._state / "dns.kubeconfig"))
        self._processes.start("dns", BINARIES / "coredns", "-conf", corefile)

    def stop(self) -> None:
        """End all parts, without a farewell: their state is thrown away with them."""
        for part in PARTS:
            self._processes.stop(part, grace=0)

    def ready(self) -> bool:
        """Whether the API server answers. Its certificate tells that it is ours."""
        context = ssl.create_default_context(cafile=str(self._authority.certificate))
        connection = http.client.HTTPSConnection(HOST, 6443, context=context, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _require_both(self) -> None:
        for part in ("etcd", "apiserver"):
            self._processes.require(part)

    def _start_etcd(self) -> str:
        """Start etcd on ports that nobody uses, never on its usual ones: those may be somebody's real cluster."""
        clients, peers = (f"http://127.0.0.1:{port}" for port in _free_ports(2))
        self._processes.start(
            "etcd",
            *(BINARIES / "etcd", "--data-dir", self._state / "etcd", "--unsafe-no-fsync"),
            *("--listen-client-urls", clients, "--advertise-client-urls", clients),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
            *("--initial-cluster", f"default={peers}"),
        )
        return clients

    def _api_server_options(self, etcd: str) -> list[str]:
        authority = self._authority
        return [
            f"--etcd-servers={etcd}",
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            f"--client-ca-file={authority.certificate}",
            f"--tls-cert-file={authority.crt('server')}",
            f"--tls-private-key-file={authority.key('server')}",
            f"--service-account-key-file={authority.service_account_key}",
            f"--service-account-signing-key-file={authority.service_account_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            # Nodes have no resolvable names here: without this, `exec` and `logs` fail.
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={authority.certificate}",
            f"--kubelet-client-certificate={authority.crt('admin')}",
            f"--kubelet-client-key={authority.key('admin')}",
        ]

    def _controller_options(self) -> list[str]:
        return [
            f"--service-account-private-key-file={self._authority.service_account_key}",
            f"--root-ca-file={self._authority.certificate}",
            "--use-service-account-credentials=true",
            # Tests lose nodes, and wait for it: the default of 50 s is long.
            "--node-monitor-grace-period=16s",
        ]

    def _common_options(self, name: str) -> list[str]:
        return [
            f"--kubeconfig={self._state / f'{name}.kubeconfig'}",
            "--leader-elect=false",
            # Nobody asks them, and their usual ports may be taken.
            "--secure-port=0",
            # The default of 20 requests a second makes thousands of pods take minutes.
            "--kube-api-qps=300",
            "--kube-api-burst=600",
        ]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
