"""Chords and saved groups on Redis, in Celery's keys, so that the parts of one chord may run on both kinds of workers.

Everything that must not be torn apart is one script; the scripts do what `longshore.core.chord.Progress` does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from longshore.brokers.redis.connection import pack
from longshore.brokers.redis.server import Server
from longshore.core.chord import CLAIM_SECONDS, Counted, Over, Part, Taken, Waiting, Whole, in_order
from longshore.exceptions import BackendError
from longshore.message import dump_body, load_text

_NO_INDEX = "+inf"
_DONE_SECONDS = 86_400
"""How long late duplicates are kept out where results never expire."""
_ANSWERS = (Waiting(), Over(), Taken())


class RedisChords:
    """The part of the port that is about chords and groups."""

    _server: Server
    _tag: str

    def _key(self, group_id: str) -> str:
        return f"{self._tag}celery-taskset-meta-{group_id}"

    def start_chords(self, chords: Mapping[str, int], *, anew: bool, expires: float | None) -> None:
        """Note sizes."""
        entries = [(self._key(group_id), size) for group_id, size in chords.items()]
        self._server.run("chord_start", entries, anew, _seconds(expires))

    def grow_chord(self, group_id: str, task_id: str, *, expires: float | None) -> None:
        """Await one more part."""
        self._server.run("chord_grow", self._key(group_id), task_id, _seconds(expires))

    def count_parts(self, parts: Sequence[Part], *, expires: float | None) -> list[Counted]:
        """Take in parts, by one script."""
        if not parts:
            return []
        entries = [(self._key(p.group_id), p.task_id, _index(p), _value(p), p.claimant) for p in parts]
        answers = self._server.run("chord_parts", entries, _seconds(expires), int(CLAIM_SECONDS))
        return [_counted(part, answer) for part, answer in zip(parts, answers, strict=True)]

    def finish_chord(self, group_id: str, claimant: str, *, expires: float | None) -> None:
        """Mark it as over."""
        self._server.run("chord_finish", self._key(group_id), claimant, _seconds(expires) or _DONE_SECONDS)

    def save_group(self, group_id: str, result: Any, *, expires: float | None) -> None:
        """Keep a group as Celery does."""
        text = json.dumps({"result": result})
        seconds = _seconds(expires)
        self._server.call(pack("SET", self._key(group_id), text, *(("EX", str(seconds)) if seconds else ())))

    def restore_group(self, group_id: str) -> Any:
        """Return a kept group."""
        [text] = self._server.call(pack("GET", self._key(group_id)))
        return None if text is None else _group(text)

    def delete_group(self, group_id: str) -> None:
        """Forget a kept group."""
        self._server.call(pack("DEL", self._key(group_id)))


def _seconds(expires: float | None) -> int:
    return 0 if expires is None else max(int(expires), 1)


def _index(part: Part) -> str:
    return _NO_INDEX if part.index is None else str(part.index)


def _value(part: Part) -> str:
    return dump_body([1, part.task_id, part.status, part.result]).decode()


def _counted(part: Part, answer: Any) -> Counted:
    if answer[0] < len(_ANSWERS):
        return _ANSWERS[answer[0]]
    _, header, members = answer
    found: dict[tuple[int | None, str], Part] = {}
    for text, score in zip(members[::2], members[1::2], strict=True):
        one = _part(part.group_id, text, score)
        found.setdefault((one.index, one.task_id), one)
    return Whole(in_order(found.values()), _group(header) if header else None)


def _part(group_id: str, text: bytes, score: bytes) -> Part:
    try:
        _, task_id, status, result = load_text(text)
        index = None if score == b"inf" else int(float(score))
    except (ValueError, TypeError) as error:
        raise BackendError(f"a part of chord {group_id} cannot be read: {error}") from error
    return Part(group_id, task_id, index, status, result)


def _group(text: bytes) -> Any:
    try:
        return load_text(text)["result"]
    except (ValueError, TypeError, KeyError) as error:
        raise BackendError(f"a saved group cannot be read: {error}") from error
