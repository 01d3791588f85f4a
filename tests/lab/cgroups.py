"""A control group of its own for every node, so that nothing of the pods' accounting is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.lab.waiting import wait_until

_MOUNT = Path("/sys/fs/cgroup")
_ALL_NODES = "longshore-lab"


def parent_of(node: str) -> str:
    """The control group that holds all pods of a node, as kubelet names it."""
    return f"/{_ALL_NODES}/{node}"


def create(node: str) -> None:
    """Make a node's group in every hierarchy of this machine."""
    for hierarchy in _hierarchies():
        (hierarchy / _ALL_NODES / node).mkdir(parents=True, exist_ok=True)


def remove(node: str) -> None:
    """Remove a node's groups, whose processes have just been ended."""
    for hierarchy in _hierarchies():
        _remove_tree(hierarchy / _ALL_NODES / node)


def remove_all() -> None:
    """Remove the groups of all nodes."""
    for hierarchy in _hierarchies():
        _remove_tree(hierarchy / _ALL_NODES)


def _hierarchies() -> Iterator[Path]:
    """Version 2 has one hierarchy, version 1 one for each controller (and symbolic links for joint ones)."""
    if (_MOUNT / "cgroup.controllers").exists():
        yield _MOUNT
        return
    yield from (folder for folder in sorted(_MOUNT.iterdir()) if folder.is_dir() and not folder.is_symlink())


def _remove_tree(group: Path) -> None:
    """A group can be removed when it is empty, and the kernel takes a moment to notice that."""
    if not group.exists():
        return
    for child in [entry for entry in group.iterdir() if entry.is_dir()]:
        _remove_tree(child)
    wait_until(f"the end of the control group {group}", lambda: _removed(group), 5)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
