"""The step between results and settlements: chords are noted before their parts are sent, ended parts are counted, and
whoever makes a header whole sends the body, before the part's own message is settled.

A death before the settlement makes the part run again: it counts once, and goes on where the dead one was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from longshore.app import Longshore
from longshore.core.aftermath import Aftermath, Ended
from longshore.core.chord import Taken, Whole
from longshore.results.port import ChordBackend


class Following(NamedTuple):
    """What follows one task, its queue and its root."""

    aftermath: Aftermath
    queue: str
    root_id: str | None
    reply_to: str | None = None


class Chords:
    """The chords of one process."""

    def __init__(self, app: Longshore) -> None:
        self._app = app

    def carry_out(self, followings: Sequence[Following]) -> None:
        """Do all that has to be done before the settlements; doing it twice does no harm."""
        canvases = self._app.canvases
        for following in followings:
            canvases.store_states(following.aftermath, following.reply_to)
        starts = [start for following in followings for start in following.aftermath.starts]
        if starts and (unlocking := canvases.start_chords(starts, anew=False)):
            self._app.publish([canvases.outgoing(call) for call in unlocking])
        backend = self._app.backend if self._app.has_backend else None
        if isinstance(backend, ChordBackend):
            for following in followings:
                self._count(backend, following)

    def _count(self, backend: ChordBackend, following: Following) -> None:
        expires = self._app.conf.result_expires
        waiting = list(following.aftermath.parts)
        while waiting:
            more: list[Ended] = []
            answers = backend.count_parts([ended.part for ended in waiting], expires=expires)
            for ended, answer in zip(waiting, answers, strict=True):
                if isinstance(answer, Whole):
                    more += self._app.canvases.chord_ended(
                        ended.part, ended.body, answer.parts, answer.header and answer.header[1], following.root_id
                    )
                    backend.finish_chord(ended.part.group_id, ended.part.claimant, expires=expires)
                elif isinstance(answer, Taken):
                    self._app.canvases.look_later(ended, following.queue)
            waiting = more
