"""The lab's own network: one bridge on this machine, one virtual cable to every node.

Nothing else of the machine's network is changed. Nodes reach each other over the bridge alone, so that neither
forwarding nor a firewall rule is needed here; the only routes added are those from this machine to the pods, and
they go with the bridge.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

from tests.lab.shell import LabError, run

BRIDGE = "longshore0"
HOST = "10.250.0.1"
NODE_NETWORK = "10.250.0.0/24"
POD_NETWORK = "10.244.0.0/16"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"


def node_address(number: int) -> str:
    """The address of a node on the bridge."""
    return f"10.250.0.{10 + number}"


def pod_network(number: int) -> str:
    """The addresses of a node's pods."""
    return f"10.244.{number}.0/24"


def create_bridge(owner: Path) -> None:
    """Make the bridge. Its alias names its owner, so that a second lab can say who is in the way."""
    refuse_foreign_lab(owner)
    refuse_taken_addresses(_routed_networks())
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "link", "set", BRIDGE, "alias", owner)
    run("ip", "address", "add", f"{HOST}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def refuse_foreign_lab(owner: Path) -> None:
    """Two labs would share addresses: the second one has to wait."""
    present = bridge_owner()
    if present is not None and present != str(owner):
        raise LabError(f"another lab is running on this machine ({present}): take it down first")


def refuse_taken_addresses(routed: list[str]) -> None:
    """Pods and nodes would be unreachable, or worse, somebody else's, where these addresses are in use."""
    for ours in (NODE_NETWORK, POD_NETWORK, SERVICE_NETWORK):
        for theirs in routed:
            if ipaddress.ip_network(ours).overlaps(ipaddress.ip_network(theirs, strict=False)):
                raise LabError(f"the lab needs {ours}, and this machine has a route to {theirs} already")


def remove_bridge(owner: Path) -> None:
    """Remove the bridge, if it is ours; its routes go with it."""
    if bridge_owner() == str(owner):
        run("ip", "link", "delete", BRIDGE)


def bridge_owner() -> str | None:
    """The state folder of the lab whose bridge this is; None where there is no bridge."""
    result = run("ip", "-json", "link", "show", BRIDGE, check=False)
    if result.returncode != 0:
        return None
    return str(json.loads(result.stdout)[0].get("ifalias", "unknown"))


def attach(number: int, init_pid: int, others: list[int]) -> None:
    """Lay the cable from the bridge to the network namespace of a node, and tell it the way to the others' pods."""
    cable = _cable(number)
    run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", init_pid)
    run("ip", "link", "set", cable, "master", BRIDGE, "up")
    inside = ("nsenter", "--target", init_pid, "--net", "ip")
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "address", "add", f"{node_address(number)}/24", "dev", "eth0")
    run(*inside, "link", "set", "eth0", "up")
    run(*inside, "route", "add", "default", "via", HOST)
    for other in others:
        run(*inside, "route", "add", pod_network(other), "via", node_address(other))
    run(*inside[:-1], "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    run("ip", "route", "replace", pod_network(number), "via", node_address(number))


def set_cable(number: int, *, connected: bool) -> None:
    """Pull the cable of a node, or put it back."""
    run("ip", "link", "set", _cable(number), "up" if connected else "down")


def cut_through(number: int) -> None:
    """Remove the cable of a node for good."""
    run("ip", "link", "delete", _cable(number), check=False)


def _cable(number: int) -> str:
    return f"longshore-n{number}"


def _routed_networks() -> list[str]:
    routes = json.loads(run("ip", "-json", "-4", "route", "show", "table", "all").stdout or "[]")
    kinds = ("local", "broadcast")
    return [one["dst"] for one in routes if one["dst"] != "default" and one.get("type") not in kinds]
