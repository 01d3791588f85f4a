"""Results on a Redis Cluster: spread over some hash tags by the task's id, chords by the group's.

What belongs to one task, or to one chord, is at one node, where one script decides. Knows the backend of a single node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from longshore.brokers.redis.topology import tag_of
from longshore.core.chord import Counted, Part
from longshore.results.port import DEFAULT_EXPIRES_SECONDS, ResultMeta
from longshore.results.redis import RedisResults


class ClusterResults:
    """The port's `ResultBackend`, with chords and groups."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._parts: dict[str, RedisResults] = {}

    def _of(self, name: str) -> RedisResults:
        tag = tag_of("results", name)
        return self._parts.get(tag) or self._parts.setdefault(tag, RedisResults(self.url, tag))

    def store(self, metas: Sequence[ResultMeta], *, expires: float | None = DEFAULT_EXPIRES_SECONDS) -> None:
        """Store states, node by node."""
        groups: dict[RedisResults, list[ResultMeta]] = {}
        for meta in metas:
            groups.setdefault(self._of(meta.task_id), []).append(meta)
        for part, group in groups.items():
            part.store(group, expires=expires)

    def fetch(self, task_ids: Sequence[str]) -> list[ResultMeta | None]:
        """Return the states, asked node by node."""
        groups: dict[RedisResults, list[str]] = {}
        for task_id in task_ids:
            groups.setdefault(self._of(task_id), []).append(task_id)
        found: dict[str, ResultMeta | None] = {}
        for part, group in groups.items():
            found.update(zip(group, part.fetch(group), strict=True))
        return [found[task_id] for task_id in task_ids]

    def wait(self, task_id: str, timeout: float | None) -> ResultMeta | None:
        """Wait for a final state, woken by its node."""
        return self._of(task_id).wait(task_id, timeout)

    def forget(self, task_ids: Sequence[str]) -> None:
        """Remove the states."""
        for task_id in task_ids:
            self._of(task_id).forget([task_id])

    def start_chords(self, chords: Mapping[str, int], *, anew: bool, expires: float | None) -> None:
        """Note sizes."""
        for group_id, size in chords.items():
            self._of(group_id).start_chords({group_id: size}, anew=anew, expires=expires)

    def grow_chord(self, group_id: str, task_id: str, *, expires: float | None) -> None:
        """Await more parts."""
        self._of(group_id).grow_chord(group_id, task_id, expires=expires)

    def count_parts(self, parts: Sequence[Part], *, expires: float | None) -> list[Counted]:
        """Take in parts, one after the other: each may be of another chord."""
        return [one for part in parts for one in self._of(part.group_id).count_parts([part], expires=expires)]

    def finish_chord(self, group_id: str, claimant: str, *, expires: float | None) -> None:
        """Mark it as over."""
        self._of(group_id).finish_chord(group_id, claimant, expires=expires)

    def save_group(self, group_id: str, result: Any, *, expires: float | None) -> None:
        """Keep a group."""
        self._of(group_id).save_group(group_id, result, expires=expires)

    def restore_group(self, group_id: str) -> Any:
        """Return a kept group."""
        return self._of(group_id).restore_group(group_id)

    def delete_group(self, group_id: str) -> None:
        """Forget a kept group."""
        self._of(group_id).delete_group(group_id)

    def close(self) -> None:
        """Close this process's connections."""
        for part in list(self._parts.values()):
            part.close()
