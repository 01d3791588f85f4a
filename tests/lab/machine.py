"""What the lab changes on the machine that it is a guest of, and how it is put back."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.lab.node import OWN_FOLDERS
from tests.lab.shell import LabError
from tests.lab.waiting import wait_until

_SET_BY_KUBELET = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
_PURPOSE = "the state of a Longshore lab; `make lab-down` removes it"


@dataclass
class Before:
    """How the machine was before the lab; kept in the lab's state, where it also marks the folder as ours."""

    purpose: str = _PURPOSE
    sysctls: dict[str, str] = field(default_factory=dict)
    made_folders: list[str] = field(default_factory=list)

    @classmethod
    def look(cls) -> Before:
        """Note what the lab is going to change."""
        sysctls = {name: _sysctl(name).read_text().strip() for name in _SET_BY_KUBELET}
        missing = [path for path in OWN_FOLDERS.values() if not Path(path).exists()]
        return cls(sysctls=sysctls, made_folders=missing)

    @classmethod
    def recall(cls, state: Path) -> Before | None:
        """Read the note of a lab; None when there is none. A folder with other contents is refused."""
        note = state / "lab.json"
        if note.exists():
            content = json.loads(note.read_text())
            if content.get("purpose") == _PURPOSE:
                return cls(**content)
        if state.exists() and any(state.iterdir()):
            raise LabError(f"{state} is not the state of a lab: move it away")
        return None

    def remember(self, state: Path) -> None:
        """Write the note, before anything is changed."""
        state.mkdir(exist_ok=True)
        (state / "lab.json").write_text(json.dumps(asdict(self), indent=1))

    def make_folders(self) -> None:
        """Make the folders over which nodes mount their own."""
        for path in self.made_folders:
            Path(path).mkdir(parents=True)

    def restore(self) -> None:
        """Put the machine back."""
        for name, value in self.sysctls.items():
            if _sysctl(name).read_text().strip() != value:
                _sysctl(name).write_text(value)
        for path in self.made_folders:
            _remove_if_empty(Path(path))


def require_root() -> None:
    """Namespaces, mounts and bridges are root's."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it makes namespaces, mounts and a network bridge")


def remove_tree(folder: Path) -> None:
    """Remove a folder of the lab. Mounts of a node that has just died may be on their way out."""
    wait_until(f"removal of {folder}", lambda: _try_to_remove(folder), 10)


def _try_to_remove(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # somebody has begun to use it


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name
