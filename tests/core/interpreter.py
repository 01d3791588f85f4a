"""A worker of ten lines for the pure canvas: it runs planned calls, joins chords, and knows no broker."""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

from longshore.core.aftermath import Aftermath, Place, after_failure, after_success, chord_failed, chord_succeeded
from longshore.core.chord import Progress, Whole, chord_error_text, first_failure
from longshore.core.planning import plan
from longshore.core.settle import FAILURE, SUCCESS, Failure


class Interpreter:
    """`functions` by task name; a function that raises fails its task."""

    def __init__(self, functions) -> None:
        self.functions = functions
        self.results: dict[str, tuple[str, Any]] = {}
        self.ran: list[tuple[str, tuple]] = []
        self.queue: deque = deque()
        self.chords: dict[str, Progress] = {}

    def apply(self, sig, *args, **options):
        numbers = itertools.count()
        made = plan(sig, args, None, options, new_id=lambda: f"id{next(numbers)}")
        self._take(made)
        while self.queue:
            self._run(self.queue.popleft())
        return made.result

    def value(self, node):
        if node[1] is not None:
            return [self.value(member) for member in node[1]]
        status, value = self.results[node[0][0]]
        assert status == SUCCESS, (status, value)
        return value

    def _take(self, made) -> None:
        for start in made.starts:
            self.chords[start.group_id] = self.chords.get(start.group_id, Progress()).start(start.size)
        self.queue.extend(made.calls)

    def _run(self, call) -> None:
        options = call.options
        embed = {
            "callbacks": options.get("link"),
            "errbacks": options.get("link_error"),
            "chain": options.get("chain"),
            "chord": options.get("chord"),
        }
        place = Place(
            options["task_id"], options.get("root_id"), options.get("group_id"), options.get("group_index"), embed
        )
        self.ran.append((call.task, call.args))
        try:
            value = self.functions[call.task](*call.args, **call.kwargs)
        except Exception as error:  # noqa: BLE001 - any task may fail
            failure = Failure(type(error).__name__, "builtins", list(error.args), str(error))
            self.results[place.task_id] = (FAILURE, failure.as_result())
            self._follow(after_failure(place, FAILURE, failure))
        else:
            self.results[place.task_id] = (SUCCESS, value)
            self._follow(after_success(place, value))

    def _follow(self, after: Aftermath) -> None:
        self._take(after)
        for other in after.states:
            self.results.setdefault(other.task_id, (other.state.status, other.state.result))
        for ended in after.parts:
            gid = ended.part.group_id
            self.chords[gid], counted = self.chords.get(gid, Progress()).count(ended.part, 0.0)
            if isinstance(counted, Whole):
                self.chords[gid] = self.chords[gid].finish(ended.part.claimant)
                if broken := first_failure(counted.parts):
                    text = chord_error_text(broken)
                    failure = Failure("ChordError", "celery.exceptions", [text], text)
                    self._follow(chord_failed(ended, failure, None))
                else:
                    self._follow(chord_succeeded(ended, [part.result for part in counted.parts], None))
