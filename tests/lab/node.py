"""One node: containerd, kubelet and kube-proxy in namespaces of their own.

Process 1 of a node's process namespace is `pause`. When it dies, the kernel ends everything on the node at once,
containers included, and the mounts and the network go with the last process: nothing has to be hunted down. This is
also what losing a machine looks like.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.lab import cgroups, network
from tests.lab.paths import BINARIES
from tests.lab.pki import Authority
from tests.lab.processes import Processes, children_of, end, identify
from tests.lab.shell import run, succeeds
from tests.lab.waiting import wait_until

PAUSE_IMAGE = "docker.io/library/lab-pause:1"
SOCKET = "/run/containerd/containerd.sock"

OWN_FOLDERS = {
    "containerd": "/var/lib/containerd",
    "kubelet": "/var/lib/kubelet",
    "cni": "/var/lib/cni",
    "log": "/var/log",
}
"""What a node keeps under paths that its programs have built in: the node sees its own folder there."""

_BECOME_A_MACHINE = "\n".join(
    [
        "node=$1 init=$2",
        "mount -t tmpfs node-run /run",
        *(f'mount --bind "$node/{own}" {path}' for own, path in OWN_FOLDERS.items()),
        'exec "$init"',
    ]
)


class Node:
    """A node of the lab, number 1 and up."""

    def __init__(self, number: int, state: Path, processes: Processes) -> None:
        self.number = number
        self.name = f"node{number}"
        self.address = network.node_address(number)
        self.folder = state / self.name
        self._state = state
        self._processes = processes
        self._authority = Authority(state)

    # -- life --------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Write what the node needs before its first boot."""
        for own in OWN_FOLDERS:
            (self.folder / own).mkdir(parents=True)
        subject = f"/O=system:nodes/CN=system:node:{self.name}"
        self._authority.issue(self.name, subject, f"IP:{self.address}")
        self._authority.write_kubeconfig(self.name)
        (self.folder / "kubelet.json").write_text(json.dumps(self._kubelet_configuration(), indent=1))
        (self.folder / "containerd.toml").write_text(_containerd_configuration(self.folder))
        networks = self.folder / "networks"
        networks.mkdir()
        (networks / "10-lab.conflist").write_text(json.dumps(_pod_network_configuration(self.number)))

    def boot(self, neighbors: list[int], images: list[Path]) -> None:
        """Start the node, load images that every pod needs, and let it join the cluster."""
        cgroups.create(self.name)
        self._start_init()
        network.attach(self.number, self._init_pid(), neighbors)
        self._start_containerd()
        for archive in images:
            self.load(archive)
        self._start_inside("kubelet", BINARIES / "kubelet", *self._kubelet_options())
        self._start_inside("proxy", BINARIES / "kube-proxy", *self._proxy_options())

    @property
    def running(self) -> bool:
        """Whether the machine is on."""
        return self._processes.alive(self.name)

    def lose(self) -> None:
        """The machine dies. The network goes first, so that no socket is closed in good order."""
        network.cut_through(self.number)
        if init := self._init_pid():
            # Process 1 is gone only when the kernel has ended all others: waiting for it is waiting for everything.
            end(identify(init), grace=0)
        for process in (self.name, *self._parts()):
            self._processes.stop(process, grace=0)
        cgroups.remove(self.name)

    def cut(self) -> None:
        """Partition: nothing gets through any more, everything on the node goes on."""
        network.set_cable(self.number, connected=False)

    def reconnect(self) -> None:
        """End the partition."""
        network.set_cable(self.number, connected=True)

    def load(self, archive: Path) -> None:
        """Load the images of an OCI archive, unless they are the ones that were loaded last."""
        stamp = self.folder / "loaded" / archive.name
        version = f"{archive.stat().st_size} {archive.stat().st_mtime_ns}"
        if stamp.exists() and stamp.read_text() == version:
            return
        run(*self._enter("--mount"), "ctr", "--address", SOCKET, "--namespace", "k8s.io", "images", "import", archive)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(version)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _parts(self) -> list[str]:
        return [f"{self.name}.{part}" for part in ("kubelet", "proxy", "containerd")]

    def _start_init(self) -> None:
        unshare = ("unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--net", "--")
        script = ("sh", "-ec", _BECOME_A_MACHINE, "node", self.folder, BINARIES / "pause")
        self._processes.start(self.name, *unshare, *script)
        self._wait_for("init", lambda: _command_of(self._init_pid()) == "pause", self.name)

    def _start_containerd(self) -> None:
        self._start_inside("containerd", "containerd", "--config", self.folder / "containerd.toml")
        client = (*self._enter("--mount"), "ctr", "--address", SOCKET, "version")
        self._wait_for("containerd", lambda: succeeds(*client), f"{self.name}.containerd")

    def _start_inside(self, part: str, *command: str | Path) -> None:
        self._processes.start(f"{self.name}.{part}", *self._enter("--mount", "--net", "--pid"), *command)

    def _enter(self, *namespaces: str) -> tuple[str, ...]:
        # Not `ip netns exec`: it mounts /sys anew and hides the cgroups from kubelet.
        return ("nsenter", "--target", str(self._init_pid()), *namespaces, "--")

    def _init_pid(self) -> int:
        identity = self._processes.identity(self.name)
        children = children_of(identity.pid) if identity and identity.alive else []
        return children[0] if children else 0

    def _wait_for(self, what: str, ready: Callable[[], bool], process: str) -> None:
        wait_until(f"{what} of {self.name}", ready, 30, meanwhile=lambda: self._processes.require(process))

    # -- configuration -----------------------------------------------------------------------------------------------

    def _kubelet_options(self) -> list[str | Path]:
        return [
            *("--config", self.folder / "kubelet.json"),
            *("--kubeconfig", self._state / f"{self.name}.kubeconfig"),
            *("--hostname-override", self.name),
            *("--node-ip", self.address),
        ]

    def _proxy_options(self) -> list[str | Path]:
        return [
            *("--kubeconfig", self._state / "proxy.kubeconfig"),
            *("--hostname-override", self.name),
            *("--cluster-cidr", network.POD_NETWORK),
            "--proxy-mode=iptables",
            # Pods of one node that talk through a Service would be answered past the proxy: there is no br_netfilter.
            "--masquerade-all",
            # The table of connections is the machine's, not ours to resize.
            "--conntrack-max-per-core=0",
        ]

    def _kubelet_configuration(self) -> dict[str, object]:
        x509 = {"clientCAFile": str(self._authority.certificate)}
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": x509},
            "authorization": {"mode": "Webhook"},
            "address": self.address,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "tlsCertFile": str(self._authority.crt(self.name)),
            "tlsPrivateKeyFile": str(self._authority.key(self.name)),
            "clusterDNS": [network.HOST],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "maxPods": 250,
            **_CGROUPS,
            "cgroupRoot": cgroups.parent_of(self.name),
            **_PACE,
            **_RESTRAINT,
        }


_CGROUPS = {
    "cgroupDriver": "cgroupfs",
    "cgroupsPerQOS": False,
    "enforceNodeAllocatable": [],
    "failCgroupV1": False,
    "failSwapOn": False,
}

_PACE = {
    "syncFrequency": "5s",
    "nodeStatusUpdateFrequency": "4s",
    "nodeLeaseDurationSeconds": 12,
    "serializeImagePulls": False,
    "registryPullQPS": 0,
    "eventRecordQPS": 0,
    "kubeAPIQPS": 100,
    "kubeAPIBurst": 200,
}

_RESTRAINT = {
    # The disk is the whole machine's: a full one must not make the lab evict pods or throw images away.
    "evictionHard": {"memory.available": "100Mi"},
    "imageGCHighThresholdPercent": 100,
    "makeIPTablesUtilChains": False,
}


def _containerd_configuration(folder: Path) -> str:
    return f"""version = 2
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder / "networks"}"
"""


def _pod_network_configuration(number: int) -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "dataDir": "/run/pod-addresses",
        "ranges": [[{"subnet": network.pod_network(number)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "1.0.0", "name": "lab", "plugins": [bridge]}


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return ""
