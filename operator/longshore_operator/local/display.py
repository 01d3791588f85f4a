"""How a run is shown while it lasts: a live table on a terminal, lines of text elsewhere. It decides nothing."""

from __future__ import annotations

import sys
import time
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live

from longshore_operator.local.snapshot import EventRow, Snapshot
from longshore_operator.local.table import event_line, progress_line, render

LINE_INTERVAL_SECONDS = 5.0


class Display(Protocol):
    """Shows snapshots and says single things."""

    def show(self, snapshot: Snapshot) -> None:
        """Show how things are now."""

    def say(self, text: str) -> None:
        """Say something that stays readable."""

    def close(self) -> None:
        """Leave the terminal as it should be."""


class LiveTable:
    """A table that is drawn anew in place."""

    def __init__(self, stream: TextIO) -> None:
        console = Console(file=stream)
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._live.start()

    def show(self, snapshot: Snapshot) -> None:
        """Draw the table."""
        self._live.update(render(snapshot), refresh=True)

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._live.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        """Leave the last table on the screen."""
        self._live.stop()


class Lines:
    """One line for each event, and one for the state when a decision changes or five seconds have passed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said_at = 0.0
        self._line = ""
        self._decisions: tuple[object, ...] = ()
        self._last_event: EventRow | None = None

    def show(self, snapshot: Snapshot) -> None:
        """Print what is new."""
        for event in _after(snapshot.events, self._last_event):
            self.say(event_line(event))
            self._last_event = event
        line = progress_line(snapshot)
        decisions = tuple((pool.desired, pool.reason, pool.problem) for pool in snapshot.pools)
        waited = snapshot.at - self._said_at >= LINE_INTERVAL_SECONDS
        if line != self._line and (decisions != self._decisions or waited):
            self._line, self._decisions, self._said_at = line, decisions, snapshot.at
            self.say(f"{time.strftime('%H:%M:%S', time.localtime(snapshot.at))} {line}")

    def say(self, text: str) -> None:
        """Print a line at once, also into a pipe."""
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is left to do."""


def choose_display(stream: TextIO | None = None) -> Display:
    """Return the display that fits standard error."""
    stream = stream or sys.stderr
    return LiveTable(stream) if stream.isatty() else Lines(stream)


def _after(events: tuple[EventRow, ...], last: EventRow | None) -> tuple[EventRow, ...]:
    for index in range(len(events) - 1, -1, -1):
        if events[index] is last:
            return events[index + 1 :]
    return events
