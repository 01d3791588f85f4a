"""Several real Redis servers together, for tests: a primary with a replica and sentinels, and a cluster.

Each server has ports and a folder of its own and ends by pid. Knows how to start, fail over and move slots.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.redis import PROGRAM, RedisServer, free_port, missing
from tests.support.workers import wait_for

NAME = "tasks"
DOWN_AFTER = 500
"""Milliseconds after which a sentinel, or a cluster, takes a silent server for dead."""


class Sentinels:
    """A primary, a replica, and three sentinels that watch them as `NAME`."""

    def __init__(self, folder: Path) -> None:
        self.servers = [RedisServer(folder / "one", "--repl-diskless-sync-delay", "0")]
        options = ("--replicaof", "127.0.0.1", str(self.servers[0].port), "--repl-diskless-sync-delay", "0")
        self.servers.append(RedisServer(folder / "two", *options))
        self.ports = [free_port() for _ in range(3)]
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def url(self, query: str = "") -> str:
        """Return the address by the sentinels."""
        hosts = ";".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"sentinel://{hosts}/0?master={NAME}{'&' if query else ''}{query}"

    def start(self) -> None:
        """Start everything and wait until the replica follows and the sentinels know it."""
        for server in self.servers:
            server.start()
        for port in self.ports:
            self._watch(port)
        wait_for("the replica follows", lambda: self._replication(1).get("master_link_status") == "up", 20)
        for port in self.ports:
            wait_for("the sentinels know all", lambda port=port: self._knows(port), 20)

    def primary(self) -> RedisServer:
        """Return the server that the first sentinel takes for the primary."""
        with redis.Redis(port=self.ports[0]) as client:
            _, port = client.sentinel_get_master_addr_by_name(NAME)
        return next(server for server in self.servers if server.port == port)

    def close(self) -> None:
        """End everything."""
        for process in self._processes:
            process.kill()
            process.wait()
        for server in self.servers:
            server.kill()

    def _watch(self, port: int) -> None:
        folder = self._folder / f"sentinel-{port}"
        folder.mkdir()
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {self.servers[0].port} 2\n"
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER}\nsentinel failover-timeout {NAME} 3000\n"
        )
        with (folder / "log").open("ab") as log:
            command = [str(PROGRAM), str(configuration), "--sentinel"]
            self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def _replication(self, number: int) -> dict[str, object]:
        with self.servers[number].client() as client:
            return dict(client.info("replication"))

    def _knows(self, port: int) -> bool:
        try:
            with redis.Redis(port=port) as client:
                state = client.sentinel_master(NAME)
                return state["num-slaves"] == 1 and state["num-other-sentinels"] == 2
        except redis.RedisError:
            return False


class Cluster:
    """Three nodes that share the slots, without replicas."""

    def __init__(self, folder: Path) -> None:
        options = (
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "2000",
            "--cluster-require-full-coverage",
            "no",
        )
        self.servers = [
            RedisServer(folder / str(number), *options, "--cluster-port", str(free_port())) for number in range(3)
        ]

    def url(self, query: str = "") -> str:
        """Return the address by two of the nodes."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:2])
        return f"redis+cluster://{hosts}/0{'?' if query else ''}{query}"

    def start(self) -> None:
        """Start the nodes and join them."""
        for server in self.servers:
            server.start()
        nodes = [f"127.0.0.1:{server.port}" for server in self.servers]
        command = ["redis-cli", "--cluster", "create", *nodes, "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        for server in self.servers:
            wait_for("the cluster is whole", lambda server=server: self._is_whole(server), 20)

    def empty(self) -> None:
        """Drop every key."""
        for server in self.servers:
            with _raw(server) as client:
                client.flushall()

    def of_slot(self, slot: int) -> RedisServer:
        """Return the node that serves a slot."""
        with _raw(self.servers[0]) as client:
            for first, last, node, *_ in client.execute_command("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(server for server in self.servers if server.port == node[1])
        raise AssertionError(f"nobody serves slot {slot}")

    def start_moving(self, slot: int) -> RedisServer:
        """Begin to move a slot to another node, and return that one."""
        source = self.of_slot(slot)
        target = next(server for server in self.servers if server is not source)
        with _raw(source) as old, _raw(target) as new:
            new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(old))
            old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(new))
        return target

    def finish_moving(self, slot: int, target: RedisServer) -> None:
        """Move the keys of a slot and hand it over."""
        source = self.of_slot(slot)
        with _raw(source) as old, _raw(target) as new:
            while keys := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                old.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            owner = _id(new)
        for server in [target, source, *self.servers]:
            with _raw(server) as client:
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", owner)

    def close(self) -> None:
        """End the nodes."""
        for server in self.servers:
            server.kill()

    def _is_whole(self, server: RedisServer) -> bool:
        with _raw(server) as client:
            return b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO")


def _raw(server: RedisServer) -> redis.Redis:
    """A client that returns what the server says."""
    client = server.client()
    client.response_callbacks.clear()
    return client


def _id(client: redis.Redis) -> str:
    return str(client.execute_command("CLUSTER", "MYID").decode())


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    """A primary, a replica and three sentinels, for this test alone."""
    if reason := missing():
        pytest.skip(reason)
    started = Sentinels(tmp_path)
    try:
        started.start()
        yield started
    finally:
        started.close()


@pytest.fixture(scope="session")
def standing_sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    """The same for the whole session, for tests that end nothing."""
    if reason := missing():
        pytest.skip(reason)
    started = Sentinels(tmp_path_factory.mktemp("sentinels"))
    try:
        started.start()
        yield started
    finally:
        started.close()


@pytest.fixture
def sentinel_url(standing_sentinels: Sentinels) -> str:
    """The address by the session's sentinels; the primary is emptied for this test."""
    with standing_sentinels.primary().client() as client:
        client.flushall()
    return standing_sentinels.url()


@pytest.fixture
def redis_cluster_url(redis_cluster: Cluster) -> str:
    """The address of the session's cluster, emptied for this test."""
    redis_cluster.empty()
    return redis_cluster.url()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes for the whole session."""
    if reason := missing() or (None if shutil.which("redis-cli") else "redis-cli is not installed"):
        pytest.skip(reason)
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
