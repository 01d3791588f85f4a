"""A TCP proxy between a client and a server, which loses what a test wants lost: answers, or everything.

It forwards bytes on 127.0.0.1 and knows no protocol.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self


class Proxy:
    """Forwards each connection until told otherwise; used as a context manager."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self.lose_answers = threading.Event()
        """Once set, the next answer of the server is dropped and its connection is cut; then it is cleared."""
        self._flows = threading.Event()
        self._flows.set()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self.go_on()
        for thread in self._threads:
            thread.join(5)

    def cut(self) -> None:
        """Cut every connection that is open now."""
        for pair in self._pairs:
            self._close(*pair)
        self._pairs.clear()

    def hold(self) -> None:
        """Become a black hole: connections stay open, new ones are accepted, nothing arrives until `go_on`."""
        self._flows.clear()

    def go_on(self) -> None:
        """Deliver what was held, on the connections that are still open, and all that follows."""
        self._flows.set()

    def _start(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._pairs.append((client, server))
            self._start(self._forward, client, server, False)
            self._start(self._forward, server, client, True)

    def _forward(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if answers and self.lose_answers.is_set():
                    self.lose_answers.clear()
                    break
                self._flows.wait()
                target.sendall(data)
        self._close(source, target)

    def _close(self, *sockets: socket.socket) -> None:
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
