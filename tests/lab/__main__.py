"""The lab's command line: `python -m tests.lab COMMAND`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable

from tests.lab import images, means, packages, tools
from tests.lab.cluster import Cluster
from tests.lab.paths import ADMIN_KUBECONFIG, BINARIES, STATE
from tests.lab.shell import LabError


def main() -> int:
    """Run one command; what goes wrong is said in one line."""
    options = _parser().parse_args()
    # Ending us by SIGTERM must clean up like Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        options.run(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130
    return 0


def _up(options: argparse.Namespace) -> None:
    """Bring the cluster up, with the project's image on every node; a running one gets the image anew."""
    _deps(options)
    _tools(options)
    cluster, began = Cluster(), time.monotonic()
    archives = [] if options.bare else [images.redis(), images.project()]
    cluster.ensure(options.nodes)
    for archive in archives:
        cluster.load(archive)
    print(f"the lab is up after {time.monotonic() - began:.1f} s: {', '.join(cluster.ready_nodes())}")
    print(f"export KUBECONFIG={ADMIN_KUBECONFIG} KUBECACHEDIR={STATE / 'kubectl-cache'} PATH={BINARIES}:$PATH")


def _prepare(options: argparse.Namespace) -> None:
    """Make everything that takes long. Where no lab is possible, say so and leave it at that: its tests are skipped."""
    if reason := means.why_never():
        print(f"no lab here: {reason}")
        return
    _deps(options)
    _tools(options)
    for make in (images.pause, images.redis, images.project):
        make()


def _down(_options: argparse.Namespace) -> None:
    Cluster().down()


def _lose(options: argparse.Namespace) -> None:
    Cluster().node(options.node).lose()


def _cut(options: argparse.Namespace) -> None:
    Cluster().node(options.node).cut()


def _heal(options: argparse.Namespace) -> None:
    Cluster().heal(options.node)


def _image(_options: argparse.Namespace) -> None:
    archive, cluster = images.project(), Cluster()
    if cluster.usable():
        cluster.load(archive)
    print(f"{images.PROJECT} is in {archive}")


def _tools(_options: argparse.Namespace) -> None:
    tools.build_all()


def _deps(options: argparse.Namespace) -> None:
    installed = packages.install(getattr(options, "packages", []))
    if installed:
        print(f"installed {', '.join(installed)}")


def _status(_options: argparse.Namespace) -> None:
    cluster = Cluster()
    if not cluster.exists():
        raise LabError("no lab is up")
    for name, runs in cluster.processes().items():
        print(f"{name:24} {'runs' if runs else 'has ended'}")
    print(
        f"ready nodes: {', '.join(cluster.ready_nodes()) if cluster.usable() else 'unknown, the cluster is not whole'}"
    )


_Command = tuple[str, Callable[[argparse.Namespace], None], str]

_PLAIN: tuple[_Command, ...] = (
    ("prepare", _prepare, "install, build and make everything that `up` needs; where no lab is possible, only say so"),
    ("down", _down, "take it down and leave nothing behind"),
    ("image", _image, "build the project's image; load it where the cluster is up"),
    ("tools", _tools, "build the cluster's programs from their Go modules"),
    ("status", _status, "what runs"),
)

_ON_NODES: tuple[_Command, ...] = (
    ("lose", _lose, "a node dies without a word"),
    ("cut", _cut, "a node is cut off from the network, and goes on"),
    ("heal", _heal, "put a node right: end the cut, or boot it again"),
)


def _parser() -> argparse.ArgumentParser:
    about = "A real Kubernetes cluster on this machine, for the tests."
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=about)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="install and build what is missing, bring the cluster up, load the images")
    up.add_argument("--nodes", type=int, default=2, metavar="N", help="number of nodes (default: 2)")
    up.add_argument("--bare", action="store_true", help="load no images")
    up.set_defaults(run=_up)
    for name, run, text in _ON_NODES:
        command = commands.add_parser(name, help=text)
        command.add_argument("node", help="node1, node2, …")
        command.set_defaults(run=run)
    for name, run, text in _PLAIN:
        commands.add_parser(name, help=text).set_defaults(run=run)
    deps = commands.add_parser("deps", help="install the Debian packages that are missing")
    deps.add_argument("packages", nargs="*", help="install these, too")
    deps.set_defaults(run=_deps)
    return parser


if __name__ == "__main__":
    sys.exit(main())
