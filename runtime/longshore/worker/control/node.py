"""The node: hears commands, answers them, and tells every two seconds that the worker lives.

One thread of the supervisor, with a line of its own. A broker that is away costs one line in the log, and pauses until
it is back; nothing here ever holds up the worker.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from longshore import __version__
from longshore.app import Longshore
from longshore.brokers.control import Event, Mail, Names, match, open_control, utc_offset
from longshore.core.backoff import reconnect_delay
from longshore.exceptions import BrokerError, LongshoreError
from longshore.worker.board import Board
from longshore.worker.control import panel
from longshore.worker.control.site import Crew, Site
from longshore.worker.rates import RateChanges
from longshore.worker.revocations import Revocations
from longshore.worker.signals import WakePipe

logger = logging.getLogger("longshore.worker")

HEARTBEAT_SECONDS = 2.0
_STOP_SECONDS = 2.0
_BEGIN_SECONDS = 0.3


class ControlNode:
    """Remote control of one worker."""

    def __init__(self, app: Longshore, crew: Crew, board: Board, rates: RateChanges, revocations: Revocations) -> None:
        self._board = board
        self._hears = bool(app.conf.worker_enable_remote_control)
        self._line = open_control(app.conf.broker_url, Names.of(app.conf))
        self._site = Site(app, crew, board, self._line, rates, revocations, self._beat_now)
        self._wake = WakePipe()
        self._lock = threading.Lock()
        self._next_beat = 0.0
        self._stopping = False
        self._begun = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; a worker that says it is ready hears commands, where its broker answers."""
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()
        self._begun.wait(_BEGIN_SECONDS)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Hold commands back: none is using a connection or a lock while the caller forks."""
        with self._lock:
            yield

    def stop(self) -> None:
        """Tell that the worker ends, and end."""
        self._stopping = True
        self._wake.ring()
        if self._thread is not None:
            self._thread.join(timeout=_STOP_SECONDS)

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        panel.load()
        failures = 0
        while not self._stopping:
            try:
                self._begin()
                failures = 0
                while not self._stopping:
                    self._turn()
            except LongshoreError as error:
                failures += 1
                if failures == 1 and not self._stopping:
                    logger.warning("remote control: %s; trying again until it works", error)
                self._wake.wait(reconnect_delay(failures))
        self._leave()

    def _begin(self) -> None:
        if self._hears:
            self._line.hear_commands(self._site.name)
        self._begun.set()
        self._tell("worker-online")
        self._next_beat = time.monotonic() + HEARTBEAT_SECONDS

    def _turn(self) -> None:
        """Wait for commands until the next heartbeat is due."""
        left = max(0.0, self._next_beat - time.monotonic())
        if self._hears:
            for mail in self._line.receive(left, self._wake.fd):
                self._handle(mail)
        else:
            self._wake.wait(left)
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + HEARTBEAT_SECONDS
            self._tell("worker-heartbeat")

    def _leave(self) -> None:
        try:
            self._tell("worker-offline")
            self._line.close()
        except BrokerError:
            pass  # whoever watches sees that the heartbeats have ended

    # -- commands ----------------------------------------------------------------------------------------------------

    def _handle(self, mail: Mail) -> None:
        body = mail.body
        if not isinstance(body, dict) or not _is_for(self._site.name, body):
            return
        seen = mail.headers.get("clock")
        self._board.tick(seen if isinstance(seen, int) else 0)
        arguments = body.get("arguments") or {}
        logger.debug("command %s %s", body.get("method"), arguments)
        with self._lock:
            answer = panel.call(self._site, body.get("method"), arguments)
        to = body.get("reply_to")
        if isinstance(to, dict):
            headers = {"ticket": body.get("ticket"), "clock": self._board.tick()}
            reply = {self._site.name: answer}
            self._line.reply(str(to.get("exchange")), str(to.get("routing_key")), reply, headers)

    # -- events ------------------------------------------------------------------------------------------------------

    def _beat_now(self) -> None:
        self._next_beat = 0.0

    def _tell(self, kind: str) -> None:
        slots = [self._board.read(row) for row in range(self._board.slots)]
        event = {
            "type": kind,
            "hostname": self._site.name,
            "pid": os.getpid(),
            "clock": self._board.tick(),
            "timestamp": time.time(),
            "utcoffset": utc_offset(),
            "freq": HEARTBEAT_SECONDS,
            "active": sum(slot.busy for slot in slots),
            "processed": sum(slot.processed for slot in slots),
            "loadavg": [round(load, 2) for load in os.getloadavg()],
            "sw_ident": "longshore",
            "sw_ver": __version__,
            "sw_sys": os.uname().sysname,
        }
        self._line.publish([Event(kind.replace("-", "."), event, {"hostname": self._site.name})])


def _is_for(name: str, body: Mapping[str, Any]) -> bool:
    """Whether a command is for the node of this name: by name, by pattern, or for all."""
    destination, pattern, matcher = body.get("destination"), body.get("pattern"), body.get("matcher")
    if destination:
        return name in destination
    return match(name, pattern, matcher) if pattern and matcher else True
