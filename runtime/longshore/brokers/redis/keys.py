r"""The names of our keys on a Redis server. Version 1; every key of a queue has the queue's hash tag.

| key | type | holds |
|---|---|---|
| ``q``, ``q\x06\x163``, ``q\x06\x166``, ``q\x06\x169`` | list | ready messages by priority step, as kombu has them |
| ``longshore:1:{q}:owners`` | zset | owner → when its lease is over, by the server's clock |
| ``longshore:1:{q}:held:<owner>`` | hash | token → envelope: the claims of an owner |
| ``longshore:1:{q}:inbox:<owner>`` | list | what a blocking wait moved, on its way into a claim |
| ``longshore:1:{q}:delayed`` | zset | priority step and envelope → when it is due |
| ``longshore:1:{q}:alone`` | list | ``count:since:step:envelope``: claimed alone, with its started executions so far |
| ``longshore:1:{q}:returned`` | set, a day | digests of messages in the lists that were held before, without a start |
| ``longshore:1:queues`` | set | the queues that were declared |
| ``longshore:1:{workers}:reports``, ``…:seen`` | hash, zset | worker → report; worker → when it was said |
| ``longshore:1:store:<key>`` | string | who got a key first, with an expiry |
| ``longshore:1:lock:<name>`` | string | the claim that holds a lock, with an expiry |
| ``longshore:1:rate:<task>`` | string | when the next turn of a rate limit is, with an expiry |
| ``longshore:1:{marks:<kind>}:set``, ``…:expire`` | zset | marks by when they were set, by when they expire |
| ``longshore:1:count:<key>`` | set | what was counted, with an expiry |
| ``{q}\x06\x163`` …, ``longshore:1:{q}:queues`` | list, set | in a cluster: lanes above 0; whether it is declared |
| ``celery-task-meta-<id>`` | string | a result, as Celery lays it out |

An owner is ``<worker>/<slot>``. Nothing that holds a message ever has an expiry. ``longshore queue handback`` returns
`held`, `inbox`, `alone` and `delayed` to the lists of Celery (`handback.py`).
"""

from __future__ import annotations

QUEUES = "longshore:1:queues"
LANES = "9630"
"""Priority steps, the first one to be popped first."""


def own(queue: str, name: str) -> str:
    """Return the name of one of our keys of a queue."""
    return f"longshore:1:{{{queue}}}:{name}"


def lane_list(queue: str, lane: str, clustered: bool = False) -> str:
    """Return the list of a priority step, as kombu names it; in a cluster with the queue as hash tag."""
    if lane == "0":
        return queue
    return f"{{{queue}}}\x06\x16{lane}" if clustered else f"{queue}\x06\x16{lane}"


def declared_queues(queue: str, clustered: bool = False) -> str:
    """Return the set in which a declared queue is."""
    return own(queue, "queues") if clustered else QUEUES
