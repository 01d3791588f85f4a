"""A real Redis for tests: Debian's server on a port and in a folder of its own, ended by pid.

It knows how to start, stop, kill, freeze and restart one server; it touches no other Redis on the machine. Where the
package is not installed, the tests that need it are skipped with that reason.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

PROGRAM = shutil.which("redis-server")
START_SECONDS = 15.0


def missing() -> str | None:
    """Return why Redis cannot be started here, or `None`."""
    return None if PROGRAM else "redis-server is not installed (apt-get install redis-server)"


def free_port() -> int:
    """Return a TCP port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """One server. `start` returns when it answers; what it wrote with `appendonly yes` survives a restart."""

    def __init__(self, folder: Path, *options: str, password: str | None = None, scheme: str = "redis") -> None:
        self.folder = folder
        self.port = free_port()
        self.password = password
        self._scheme = scheme
        self._options = [*options, *(["--requirepass", password] if password else [])]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, query: str = "", *, database: int = 0) -> str:
        """Return the address of a database, with options such as ``lease_seconds=1``."""
        secret = f":{self.password}@" if self.password else ""
        return f"{self._scheme}://{secret}127.0.0.1:{self.port}/{database}{'?' if query else ''}{query}"

    def client(self, database: int = 0) -> redis.Redis:
        """Return a client for a test to look and to operate with."""
        return redis.Redis(port=self.port, password=self.password, db=database, protocol=2)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        assert PROGRAM is not None
        assert self._process is None
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._await_answer()

    def stop(self) -> None:
        """End the server in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a crash would."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the process where it is: it neither answers nor closes its sockets."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                pytest.fail(f"redis-server ended: {(self.folder / 'server.log').read_text()[-2000:]}")
            if self._answers():
                return
            time.sleep(0.01)
        pytest.fail(f"redis-server did not answer within {START_SECONDS} s")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            if number == signal.SIGTERM:
                self._process.send_signal(signal.SIGCONT)
            self._process.wait(timeout=20)
            self._process = None


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the whole session; a test that ends, freezes or configures one takes `new_redis`."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of the session's server, emptied for this test."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url()


@pytest.fixture
def redis_client(redis_server: RedisServer, redis_url: str) -> Iterator[redis.Redis]:
    """A client of the session's server, for looking at keys."""
    with redis_server.client() as client:
        yield client


@pytest.fixture
def new_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Start servers for this test alone: ``new_redis("--maxmemory", "3mb", password="secret")``."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    servers: list[RedisServer] = []

    def start(*options: str, password: str | None = None, scheme: str = "redis") -> RedisServer:
        server = RedisServer(tmp_path / f"redis-{len(servers)}", *options, password=password, scheme=scheme)
        servers.append(server)
        server.start()
        return server

    try:
        yield start
    finally:
        for server in servers:
            server.kill()
