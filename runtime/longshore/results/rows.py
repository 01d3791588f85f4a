"""A state as a row of an SQLite file: the statements that store it, its encoding, the bell that its end rings. Pure."""

from __future__ import annotations

import json
import re
import time

import msgspec

from longshore.results.port import ResultMeta

ENDED = frozenset({"SUCCESS", "FAILURE", "REVOKED"})

Row = tuple[str, str, int, bytes, int]
"""Task id, status, when it expires (0 for never), body, now."""

_KEEP_SUCCESS = """
ON CONFLICT(task_id) DO UPDATE SET status = ?2, expires_at = ?3, body = ?4
WHERE status <> 'SUCCESS' OR (expires_at > 0 AND expires_at <= ?5)
"""
STORE = "INSERT INTO results(task_id, status, expires_at, body) VALUES (?1, ?2, ?3, ?4)" + _KEEP_SUCCESS  # noqa: S608 - no value is in it
STORE_OF_CLAIM = (
    """
INSERT INTO results(task_id, status, expires_at, body)
SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM messages WHERE id = ?6 AND owner = ?7)
"""  # noqa: S608 - as above
    + _KEEP_SUCCESS
)
"""With the message and its owner after the row: whose claim is lost stores nothing."""

_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(ResultMeta).decode


def to_row(meta: ResultMeta, expires: float | None, now: int) -> Row:
    """Return a state as it is stored; raises `TypeError` for what cannot be."""
    return meta.task_id, meta.status, 0 if expires is None else now + int(expires * 1000), _encode(meta), now


def now_ms() -> int:
    """Return the time as the tables hold it."""
    return time.time_ns() // 1_000_000


def _encode(meta: ResultMeta) -> bytes:
    """MessagePack, whose integers have 64 bits; JSON for the rare task that returns a larger one."""
    try:
        return _pack(meta)
    except OverflowError:
        return json.dumps(msgspec.to_builtins(meta)).encode()


def decode(body: bytes) -> ResultMeta:
    """Return the state in a row."""
    return msgspec.convert(json.loads(body), ResultMeta) if body.startswith(b"{") else _unpack(body)


def bell_name(task_id: str) -> str:
    """Return a file name for any id: a plain one as it is, another by its bytes."""
    return f"result.{task_id if _PLAIN_ID.fullmatch(task_id) else task_id.encode()[:80].hex()}"
