"""The copy of a message that was acknowledged before its start, kept while a limit may end it or others wait for it.

Its supervisor sends it again with its sentence, so that whoever waits for its end is told; it never runs again.
"""

from __future__ import annotations

import msgspec

from longshore.brokers.port import Outgoing
from longshore.core.sentences import Sentence, dump_sentence
from longshore.message import SENTENCE_HEADER, Message

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, Message]).decode


def dump_copy(queue: str, message: Message) -> bytes | None:
    """Return a message of a queue as bytes; `None` for one that cannot be kept."""
    try:
        return _encode((queue, message))
    except (TypeError, OverflowError):
        return None


def sentenced(copy: bytes, sentence: Sentence) -> Outgoing:
    """Return the message to send: back to its queue, never to run again."""
    queue, message = _decode(copy)
    return Outgoing(queue, message.with_headers({SENTENCE_HEADER: dump_sentence(sentence)}))
