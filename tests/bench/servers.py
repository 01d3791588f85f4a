"""The servers of a run, started by the tests' own support modules on ports of their own, and emptied between trials."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import amqp

from tests.bench.apps.settings import QUEUE, queue_names
from tests.support import rabbitmq as rabbitmq_support
from tests.support import redis as redis_support
from tests.support.rabbitmq import RabbitMQServer
from tests.support.redis import RedisServer, free_port

__all__ = ["QUEUE", "Servers", "clean_up_on_sigterm"]

SETTLE_SECONDS = 3.0
BROKER_DATABASE, RESULT_DATABASE = 0, 1
TLS = "TLS"
VARIANTS: dict[str, tuple[str, ...]] = {
    "": (),
    "AOF everysec": ("--appendonly", "yes", "--appendfsync", "everysec"),
    "AOF always": ("--appendonly", "yes", "--appendfsync", "always"),
}
"""Options of a Redis; `TLS` is of both servers."""


def clean_up_on_sigterm() -> None:
    """Leave by way of an exception: a server in a session of its own would outlive a process that just dies."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


class Servers:
    """Starts a server when a row first needs it; a broker that cannot run here has its reason in `missing`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._redis: dict[str, RedisServer] = {}
        self._rabbitmq: RabbitMQServer | None = None
        self._tls_port = 0
        self._queues = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._redis.values():
            server.kill()
        if self._rabbitmq is not None:
            self._rabbitmq.close()

    @staticmethod
    def missing(kind: str) -> str | None:
        """Return why a broker cannot be started here, or `None`."""
        return {"redis": redis_support.missing, "rabbitmq": rabbitmq_support.missing}.get(kind, lambda: None)()

    def redis(self, *options: str) -> RedisServer:
        """Return the Redis with these options."""
        key = " ".join(options)
        if key not in self._redis:
            server = RedisServer(self._folder / f"redis-{len(self._redis)}", *options)
            self._redis[key] = server
            server.start()
        return self._redis[key]

    @property
    def rabbitmq(self) -> RabbitMQServer:
        """Return the RabbitMQ."""
        if self._rabbitmq is None:
            server = RabbitMQServer(self._folder / "rabbitmq")
            self._rabbitmq = server
            server.start()
        return self._rabbitmq

    def fresh(self, kind: str, *, queue_type: str = "classic", variant: str = "", queues: int = 1) -> str:
        """Empty a broker and return its address (for SQLite: the path of a new file)."""
        if kind == "redis":
            return self._fresh_redis(variant)
        if kind == "rabbitmq":
            self._fresh_queues(queue_type, queues)
            if variant == TLS:
                certificate = self.rabbitmq.certificate
                return f"amqps://guest:guest@localhost:{self.rabbitmq.tls_port}/?cacertfile={certificate}"
            return self.rabbitmq.url()
        folder = self._folder / "sqlite"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return str(folder / "bench.db")

    def _fresh_redis(self, variant: str) -> str:
        server = self.redis(*(self._tls_options() if variant == TLS else VARIANTS[variant]))
        with server.client() as client:
            client.flushall()
        if variant == TLS:
            certificate = self._folder / "certificate.pem"
            return f"rediss://localhost:{self._tls_port}/{BROKER_DATABASE}?ssl_ca_certs={certificate}"
        return server.url(database=BROKER_DATABASE)

    def _tls_options(self) -> tuple[str, ...]:
        key, certificate = str(self._folder / "key.pem"), str(self._folder / "certificate.pem")
        if not self._tls_port:
            self._tls_port = free_port()
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            names = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
            files = ["-keyout", key, "-out", certificate]
            subprocess.run([*command, *names, *files], check=True, capture_output=True, timeout=30)
        return (
            "--tls-port", str(self._tls_port), "--tls-cert-file", certificate, "--tls-key-file", key,
            "--tls-ca-cert-file", certificate, "--tls-auth-clients", "no",
        )  # fmt: skip

    def results(self) -> str:
        """Return the address of the database for results; `fresh("redis")` empties it too."""
        with self.redis().client(RESULT_DATABASE) as client:
            client.flushdb()
        return self.redis().url(database=RESULT_DATABASE)

    def rabbitmq_depth(self, expected: int = 0) -> int:
        """Return how many messages wait in the queue once no worker holds any; what was not confirmed comes late."""
        deadline = time.monotonic() + SETTLE_SECONDS
        with self._amqp() as connection:
            channel = connection.channel()
            while True:
                found = int(channel.queue_declare(QUEUE, passive=True).message_count)
                if found == expected or time.monotonic() > deadline:
                    return found
                time.sleep(0.05)

    def _fresh_queues(self, queue_type: str, queues: int) -> None:
        """Delete the queues and what systems keep beside them; only a quorum queue is declared here, to be adopted."""
        with self._amqp() as connection:
            channel = connection.channel()
            more, self._queues = queue_names(self._queues), queues
            for name in (*more, f"{QUEUE}.DQ", f"{QUEUE}.XQ", f"{QUEUE}.dead_letter", f"{QUEUE}.delay"):
                channel.queue_delete(name)
            if queue_type == "quorum":
                channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})

    def _amqp(self) -> amqp.Connection:
        connection = amqp.Connection(f"127.0.0.1:{self.rabbitmq.port}")
        connection.connect()
        return connection
