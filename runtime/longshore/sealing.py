"""Encrypted bodies, by choice: LONGSHORE_PAYLOAD_KEYS holds Fernet keys, and every message of this process is sealed.

The first key seals, each of them opens: a new key is put in front, and the old one taken out when its messages are
gone. Headers stay readable, and what they show of the arguments is masked. Needs the extra ``longshore[encryption]``.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from longshore.exceptions import ImproperlyConfigured, MessageError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEYS = "LONGSHORE_PAYLOAD_KEYS"
SEALED_HEADER = "longshore-sealed"
"""On a message whose body is encrypted: the version of how."""
MASK = "<sealed>"
_VERSION = 1


@cache
def keyring() -> MultiFernet | None:
    """Return this process's keys, read once; `None` where bodies are not sealed."""
    text = os.environ.get(KEYS, "")
    if not text.strip():
        return None
    try:
        from cryptography.fernet import Fernet, MultiFernet
    except ImportError:
        raise ImproperlyConfigured(f"{KEYS} is set, which needs: pip install 'longshore[encryption]'") from None
    try:
        return MultiFernet([Fernet(key.strip()) for key in text.split(",") if key.strip()])
    except ValueError:
        raise ImproperlyConfigured(
            f"{KEYS} holds what is no Fernet key: 32 bytes in URL-safe base64, as Fernet.generate_key() returns"
        ) from None


def seal(body: bytes) -> tuple[bytes, dict[str, int]]:
    """Return a body as it is sent, and the headers that say so."""
    ring = keyring()
    return (body, {}) if ring is None else (ring.encrypt(body), {SEALED_HEADER: _VERSION})


def unseal(body: bytes, version: object) -> bytes:
    """Return the body of a sealed message; raise `MessageError` where it cannot be opened here."""
    ring = keyring()
    if version != _VERSION:
        raise MessageError(f"body is sealed in the way {version!r}, which this version does not know")
    if ring is None:
        raise MessageError(f"body is sealed, and {KEYS} is not set here")
    from cryptography.fernet import InvalidToken

    try:
        return ring.decrypt(body)
    except InvalidToken:
        raise MessageError(f"body is sealed with a key that is not in {KEYS}, or was changed on its way") from None
