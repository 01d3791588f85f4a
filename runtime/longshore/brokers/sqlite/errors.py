"""What SQLite and the file system say, as errors of ours: which file, what is wrong, what to do, in one line.

Knows codes and paths; knows nothing of transactions.
"""

from __future__ import annotations

import errno
import sqlite3

from longshore.exceptions import BrokerError, BrokerFull, BrokerRefused, BrokerUnavailable

_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PRIMARY = 0xFF


def explain(error: sqlite3.Error, path: str) -> BrokerError:
    """Return the broker's error for what SQLite raised."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    if code in _FULL or code & _PRIMARY == sqlite3.SQLITE_FULL:
        return full(path)
    known = _BY_CODE.get(code & _PRIMARY)
    if known is None:
        return BrokerUnavailable(f"SQLite cannot use {path}: {error}")
    kind, text = known
    return kind(text.format(path=path))


def explain_os(error: OSError, path: str) -> BrokerError:
    """Return the broker's error for what the operating system raised while the files were opened or locked."""
    if error.errno in _FULL_ERRNOS:
        return full(path)
    where = error.filename or path
    if error.errno in (errno.EACCES, errno.EPERM):
        return BrokerRefused(f"no permission to write {where}; give this user write permission on it and on its folder")
    if error.errno == errno.EROFS:
        return BrokerRefused(f"{where} is on a read-only file system; put the database on one that can be written")
    return BrokerUnavailable(f"cannot use {where}: {error.strerror or error}")


def full(path: str) -> BrokerFull:
    """Return the error for a disk, a quota or a size limit that is used up."""
    return BrokerFull(f"no room to write {path}: disk full or over a limit; free some space, workers go on meanwhile")


_BY_CODE: dict[int, tuple[type[BrokerError], str]] = {
    sqlite3.SQLITE_NOTADB: (BrokerRefused, "{path} is not an SQLite database; name another file, it is left as it is"),
    sqlite3.SQLITE_CORRUPT: (
        BrokerRefused,
        "{path} is damaged; stop all that uses it, then restore a copy, or save what is left by `sqlite3 .recover`",
    ),
    sqlite3.SQLITE_READONLY: (
        BrokerRefused,
        "{path} is read-only; give this user write permission on it and its folder",
    ),
    sqlite3.SQLITE_PERM: (BrokerRefused, "{path} is read-only; give this user write permission on it and its folder"),
    sqlite3.SQLITE_CANTOPEN: (
        BrokerRefused,
        "{path} cannot be opened; check that its folder exists and can be written",
    ),
    sqlite3.SQLITE_BUSY: (
        BrokerUnavailable,
        "{path} is locked by a program that is not Longshore (a backup, a browser of the file?); close it there",
    ),
}
