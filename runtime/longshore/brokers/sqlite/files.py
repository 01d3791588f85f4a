"""The database's place on disk: the checks before it is opened, its companions' folder, the reserve for a full disk.

Beside ``tasks.db`` lies ``tasks.db-run/``: ``gate``, ``owners``, ``reserve`` and the bells. It may be removed while no
process uses the database.
"""

from __future__ import annotations

import os
from pathlib import Path

from longshore.exceptions import BrokerRefused

RESERVE_BYTES = 5 << 20
"""More than the log grows before it is written into the database (1,000 pages, perhaps all of them new there): with
less the first checkpoint on a full disk could fail, and draining would stop for good.
"""

_NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
    "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs",
}  # fmt: skip


def check_place(path: str) -> None:
    """Raise `BrokerRefused` where a database cannot or must not be."""
    file, folder = Path(path), Path(path).parent
    if not folder.is_dir():
        raise BrokerRefused(f"the folder {folder} does not exist; make it (mkdir -p {folder}) or name another one")
    if file.is_dir():
        raise BrokerRefused(f"{path} is a folder; name a file in it, {path}/tasks.db for instance")
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise BrokerRefused(f"{path} is on a read-only file system; name a file on one that can be written")
    for place in (folder, file):
        if place.exists() and not os.access(place, os.W_OK):
            raise BrokerRefused(f"no permission to write {place}; give this user write permission on it")
    kind = filesystem(str(folder))
    if kind in _NETWORK:
        raise BrokerRefused(
            f"{path} is on a network file system ({kind}), whose locks SQLite cannot trust; use a local disk, or Redis"
        )


def filesystem(folder: str, mounts: str = "/proc/self/mountinfo") -> str | None:
    """Return the type of the file system that holds a folder, `None` where the kernel does not say."""
    try:
        lines = Path(mounts).read_text().splitlines()
    except OSError:
        return None
    real = Path(folder).resolve()
    best, kind = "", None
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].replace("\\040", " ")
        if len(point) >= len(best) and real.is_relative_to(point):
            best, kind = point, right.split(" ")[0]
    return kind


def run_folder(path: str) -> Path:
    """Make and return the folder of the companions."""
    folder = Path(f"{path}-run")
    folder.mkdir(exist_ok=True)
    return folder


class Reserve:
    """A file that is there to be removed: when the disk is full, its room lets workers drain, not senders send."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ensure(self) -> bool:
        """Make the file if it is missing and as much room would still be left; return whether it is there."""
        if self._path.exists():
            return True
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < 2 * RESERVE_BYTES:
            return False
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            return True
        except OSError:
            return False
        try:
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        finally:
            os.close(fd)
        return True

    def spend(self) -> bool:
        """Remove the file; return whether that made room."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True
