"""Claims and settles in a cluster: one consumer a queue, at the node of that queue, under one owner.

What a settlement sends to other queues is sent first, then it settles: a death in between makes a duplicate. Knows the
consumers of single queues by the port, and that they share one pair of hands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic

import msgspec

from longshore.brokers.port import Claim, Outgoing, Settlement
from longshore.brokers.redis.consumer import RedisConsumer

_SHORTEST_WAIT, _LONGEST_WAIT = 0.02, 0.25


class ClusterConsumer:
    """The port's `Consumer`. It waits at one queue at a time and looks at the others in between."""

    def __init__(self, parts: Mapping[str, RedisConsumer], send: Callable[[Sequence[Outgoing]], None]) -> None:
        self._parts = dict(parts)
        self._order = list(parts)
        self._send = send
        self._unsent: list[tuple[Settlement, tuple[Outgoing, ...]]] = []
        """Settlements whose messages for other queues have not been sent yet."""

    def claim(self, limit: int, wait: float, *, ahead: bool = False) -> list[Claim]:
        """Settle what is noted and claim from the queues in turn; wait for the first message if there is none."""
        self._send_first()
        ends, pause = monotonic() + wait, _SHORTEST_WAIT
        if len(self._order) == 1:
            return self._parts[self._order[0]].claim(limit, wait, ahead=ahead)
        claims = self._claim(limit)
        while not claims and limit > 0 and (left := ends - monotonic()) > 0:
            began, asked = monotonic(), min(pause, left)
            claims = self._next().claim(self._room(limit), asked)
            if not claims:
                if monotonic() - began < asked / 2:  # woken, or a suspect waits
                    return self._claim(limit)
                claims, pause = self._claim(limit), min(pause * 2, _LONGEST_WAIT)
        return claims

    def _claim(self, limit: int) -> list[Claim]:
        claims: list[Claim] = []
        self._next()
        for queue in self._order:
            claims += self._parts[queue].claim(self._room(limit - len(claims)), 0)
        return claims

    def _next(self) -> RedisConsumer:
        """Turn to the next queue."""
        self._order.append(self._order.pop(0))
        return self._parts[self._order[0]]

    def _room(self, room: int) -> int:
        return 0 if any(part.holds_suspect for part in self._parts.values()) else max(room, 0)

    def settle(self, settlement: Settlement) -> None:
        """Note a settlement."""
        queue = settlement.claim.queue
        elsewhere = tuple(one for one in settlement.sends if one.queue != queue)
        if elsewhere:
            here = tuple(one for one in settlement.sends if one.queue == queue)
            self._unsent.append((msgspec.structs.replace(settlement, sends=here), elsewhere))
        else:
            self._parts[queue].settle(settlement)

    def acknowledge_now(self, claims: Sequence[Claim]) -> None:
        """Settle before the start, queue by queue; where one fails none may be started."""
        for queue in {claim.queue: None for claim in claims}:
            self._parts[queue].acknowledge_now([claim for claim in claims if claim.queue == queue])

    def flush(self) -> int:
        """Carry out what is noted."""
        self._send_first()
        return sum(part.flush() for part in self._parts.values())

    def abandon(self) -> None:
        """Give up what is held; what is noted stays noted."""
        for part in self._parts.values():
            part.abandon()

    def close(self) -> None:
        """Flush, give back what is held, and end."""
        try:
            self._send_first()
        finally:
            self._close_parts(list(self._parts.values()))

    def _close_parts(self, parts: list[RedisConsumer]) -> None:
        try:
            if parts:
                parts[0].close()
        finally:
            if parts:
                self._close_parts(parts[1:])

    def _send_first(self) -> None:
        while self._unsent:
            settlement, elsewhere = self._unsent[0]
            self._send(elsewhere)
            del self._unsent[0]
            self._parts[settlement.claim.queue].settle(settlement)
