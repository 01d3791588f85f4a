"""The cluster of this machine: up, down, and what may happen to its nodes in between."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import cgroups, images, network, packages, tools
from tests.lab.control_plane import ControlPlane
from tests.lab.machine import Before, remove_tree, require_root
from tests.lab.node import Node
from tests.lab.paths import ADMIN_KUBECONFIG, CACHE, STATE
from tests.lab.processes import Processes
from tests.lab.shell import LabError, run
from tests.lab.waiting import wait_until

_BINDINGS = {"lab-proxy": ("system:node-proxier", "system:kube-proxy"), "lab-dns": ("view", "lab-dns")}
"""Cluster role and user of the parts that are no pods here."""


class Cluster:
    """The one lab of this working copy."""

    def __init__(self, state: Path = STATE) -> None:
        self.state = state
        self._up = state / "up"
        self._processes = Processes(state)
        self._control_plane = ControlPlane(state, self._processes)

    # -- life --------------------------------------------------------------------------------------------------------

    def ensure(self, count: int = 2) -> bool:
        """Have a cluster up; say whether it had to be brought up. A broken one, or half of one, is replaced."""
        with self._alone():
            if self.usable():
                return False
            self._take_down()
            self._bring_up(count)
            return True

    def up(self, count: int = 2) -> None:
        """Bring the cluster up; what was begun is taken back when that fails."""
        if not self.ensure(count):
            raise LabError("a lab is up already: `make lab-down` first")

    def down(self) -> None:
        """Take the cluster down and leave nothing behind. Nothing to do is fine."""
        if self.exists():
            with self._alone():
                self._take_down()

    def exists(self) -> bool:
        """Whether there is state of a lab, running or left behind."""
        return Before.recall(self.state) is not None

    def usable(self) -> bool:
        """Whether the cluster has come up completely, and its API server answers."""
        return self._up.exists() and self._control_plane.ready()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One program at a time brings a cluster up or down; the lock ends with the program, however that ends."""
        require_root()
        CACHE.mkdir(exist_ok=True)
        with (CACHE / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _bring_up(self, count: int) -> None:
        self._require_means()
        try:
            self._start(count)
        except BaseException:
            self._take_down()
            raise

    def _take_down(self) -> None:
        before = Before.recall(self.state)
        if before is None:
            return
        for node in self.nodes():
            node.lose()
        self._control_plane.stop()
        network.remove_bridge(self.state)
        cgroups.remove_all()
        before.restore()
        remove_tree(self.state)

    def _require_means(self) -> None:
        packages.require()
        if tools.missing():
            raise LabError("tools are not built yet: `python -m tests.lab tools`")

    def _start(self, count: int) -> None:
        pause = images.pause()
        before = Before.look()
        network.refuse_foreign_lab(self.state)
        before.remember(self.state)
        before.make_folders()
        network.create_bridge(self.state)
        self._control_plane.start()
        self._allow_parts()
        self._control_plane.start_dns()
        nodes = [self._node(number) for number in range(1, count + 1)]
        for node in nodes:
            node.prepare()
        for node in nodes:
            node.boot(self._neighbors(node), [pause])
        wait_until("all nodes ready", lambda: self.ready_nodes() == [node.name for node in nodes], 60)
        self._up.touch()

    def _allow_parts(self) -> None:
        for name, (role, user) in _BINDINGS.items():
            self._kubectl("create", "clusterrolebinding", name, f"--clusterrole={role}", f"--user={user}")

    # -- nodes -------------------------------------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        """All nodes, also those that were lost."""
        folders = sorted(self.state.glob("node*/kubelet.json"))
        return [self._node(int(file.parent.name.removeprefix("node"))) for file in folders]

    def node(self, name: str) -> Node:
        """A node by its name."""
        for node in self.nodes():
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes()) or "none: no lab is up"
        raise LabError(f"there is no node {name}; the nodes are: {known}")

    def heal(self, name: str) -> None:
        """End whatever is wrong with a node: put its cable back, or boot it again when it was lost."""
        node = self.node(name)
        if node.running:
            node.reconnect()
        else:
            node.boot(self._neighbors(node), [])

    def load(self, archive: Path) -> None:
        """Load the images of an OCI archive on all nodes that run."""
        for node in self.nodes():
            if node.running:
                node.load(archive)

    def ready_nodes(self) -> list[str]:
        """The names of the nodes that the cluster takes for ready."""
        items = json.loads(self._kubectl("get", "nodes", "--output", "json"))["items"]
        return sorted(item["metadata"]["name"] for item in items if _is_ready(item))

    def _node(self, number: int) -> Node:
        return Node(number, self.state, self._processes)

    def _neighbors(self, node: Node) -> list[int]:
        return [other.number for other in self.nodes() if other.number != node.number]

    # -- looking at it -----------------------------------------------------------------------------------------------

    def processes(self) -> dict[str, bool]:
        """Every process of the lab, and whether it runs."""
        return {name: self._processes.alive(name) for name in self._processes.names()}

    def _kubectl(self, *words: str) -> str:
        environment = os.environ | {"KUBECACHEDIR": str(self.state / "kubectl-cache")}
        return run(tools.binary("kubectl"), f"--kubeconfig={ADMIN_KUBECONFIG}", *words, env=environment).stdout


def _is_ready(node: dict[str, object]) -> bool:
    conditions = node["status"]["conditions"]  # type: ignore[index]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
