"""Settlements that are noted and not carried out yet, in the form in which the claim script takes them.

Knows settlements and their packing; knows no connection. The plain ones, almost all, are tokens by queue.
"""

from __future__ import annotations

from typing import Any

from longshore.brokers.port import Outgoing, Settlement
from longshore.brokers.redis.envelope import encode, lane
from longshore.results import body

AT_ONCE = 1000
"""Lua passes a batch as arguments of one command; its stack holds 8,000."""

Packed = tuple[list[Any], list[Any], list[Any]]


class Noted:
    """What one request to the claim script carries out."""

    __slots__ = ("adopted", "done", "others", "stored", "uncertain")

    def __init__(self) -> None:
        self.adopted: list[tuple[str, str, str]] = []
        """Queue, token and message of what a wait has moved and is handed out: the first thing to carry out."""
        self.done: dict[str, list[str]] = {}
        self.stored: dict[tuple[str, int], list[tuple[str, str, str]]] = {}
        self.others: list[tuple[Any, ...]] = []
        self.uncertain = False
        """Whether it may have been carried out already, with the answer lost."""

    def __bool__(self) -> bool:
        return bool(self.done or self.others or self.stored or self.adopted)

    def add(self, settlement: Settlement) -> None:
        """Note one settlement."""
        claim = settlement.claim
        if settlement.give_back or settlement.sends:
            how = "removed" if not settlement.give_back else "counted" if settlement.counted else "uncounted"
            sends = [_packed(one) for one in settlement.sends]
            self.others.append((claim.queue, claim.token, how, sends, _result(settlement)))
        elif settlement.result is not None:
            key, text, expires = _result(settlement)
            self.stored.setdefault((claim.queue, expires), []).append((claim.token, key, text))
        elif claim.queue in self.done:
            self.done[claim.queue].append(claim.token)
        else:
            self.done[claim.queue] = [claim.token]

    def give_back_unseen(self, queue: str, token: str) -> None:
        """Note that a claim goes back which nobody was handed."""
        self.others.append((queue, token, "unseen", (), False))

    def behind(self, earlier: Noted) -> Noted:
        """Return both together, the earlier ones first: their request has failed."""
        both = Noted()
        both.uncertain = self.uncertain or earlier.uncertain
        for part in (earlier, self):
            for queue, tokens in part.done.items():
                both.done.setdefault(queue, []).extend(tokens)
            for place, results in part.stored.items():
                both.stored.setdefault(place, []).extend(results)
            both.others += part.others
            both.adopted += part.adopted
        return both

    def packed(self) -> Packed:
        """Return the three kinds as the script takes them: removed, removed with a result, and all others."""
        done = [(queue, part) for queue, tokens in self.done.items() for part in _portions(tokens)]
        stored = [
            (queue, expires, part) for (queue, expires), results in self.stored.items() for part in _portions(results)
        ]
        return done, stored, self.others


def _portions(items: list[Any]) -> list[list[Any]]:
    return [items[at : at + AT_ONCE] for at in range(0, len(items), AT_ONCE)]


def _result(settlement: Settlement) -> Any:
    """Return key, body and life in milliseconds (0 for ever) of a result; `False` without one."""
    meta, expires = settlement.result, settlement.result_expires
    if meta is None:
        return False
    return body.key(meta.task_id), body.dump(meta), max(int(expires * 1000), 1) if expires is not None else 0


def _packed(outgoing: Outgoing) -> tuple[str, str, str, float]:
    """Return a message as the scripts take it: queue, priority step, envelope, when due (0 for now)."""
    envelope = encode(outgoing.queue, outgoing.message, outgoing.due_at).decode()
    return outgoing.queue, lane(outgoing.message), envelope, outgoing.due_at or 0
