"""The Lua scripts: loaded from their files, called by digest, loaded into the server when it does not know them.

Each gets one argument, a msgpack array; its text goes as strings, because Redis's `cmsgpack` does not know bytes.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any

import msgspec

from longshore.brokers.redis.connection import Reply, ReplyError, pack

_FOLDER = Path(__file__).parent / "lua"
_encode = msgspec.msgpack.Encoder().encode


class Script:
    """One script and its digest."""

    def __init__(self, name: str, *, clustered: bool) -> None:
        said = f"local clustered = {str(clustered).lower()}"
        self.text = f"{said}\n{(_FOLDER / 'common.lua').read_text()}\n{(_FOLDER / f'{name}.lua').read_text()}".encode()
        self.digest = sha1(self.text, usedforsecurity=False).hexdigest()
        self._head = b"EVALSHA", self.digest.encode(), b"0"

    def call(self, *arguments: Any) -> bytes:
        """Return the packed command that runs it."""
        return pack(*self._head, _encode(arguments))

    def load(self) -> bytes:
        """Return the packed command that makes the server know it."""
        return pack("SCRIPT", "LOAD", self.text)


@cache
def script(name: str, clustered: bool = False) -> Script:
    """Return a script by its file's name; in a cluster keys are named otherwise."""
    return Script(name, clustered=clustered)


def is_unknown(reply: Reply) -> bool:
    """Whether the server forgot the script (a restart, `SCRIPT FLUSH`): nothing of the call has happened."""
    return isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT")
