"""A real RabbitMQ for tests: Debian's server on ports, names, cookie and folders of its own, ended by pid.

It knows how to start, stop, kill and restart one node and its epmd; it touches no other RabbitMQ on the machine. Where
the package is not installed, the tests that need it are skipped with that reason.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path("/usr/lib/rabbitmq/bin")
EPMD = shutil.which("epmd")
START_SECONDS = 60.0

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = guest
default_pass = guest
log.console = false
log.file.level = info
vm_memory_high_watermark.relative = 0.4
disk_free_limit.absolute = 50MB
heartbeat = 60
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {folder}/certificate.pem
ssl_options.certfile = {folder}/certificate.pem
ssl_options.keyfile = {folder}/key.pem
ssl_options.verify = verify_none
"""


def missing() -> str | None:
    """Return why RabbitMQ cannot be started here, or `None`."""
    if shutil.which("openssl") is None:
        return "openssl is not installed (apt-get install openssl)"
    if not (SCRIPTS / "rabbitmq-server").exists() or EPMD is None:
        return "rabbitmq-server is not installed (apt-get install rabbitmq-server)"
    return None


def free_port() -> int:
    """Return a TCP port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RabbitMQServer:
    """One node with its epmd. `start` returns when it accepts connections."""

    def __init__(self, folder: Path, *, extra_configuration: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        self.tls_port = free_port()
        self._epmd_port = free_port()
        self._dist_port = free_port()
        self._node = f"longshore{os.getpid()}-{uuid.uuid4().hex[:6]}@localhost"
        self._extra = extra_configuration
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def url(self, vhost: str = "", *, user: str = "guest", password: str = "guest") -> str:
        """Return the address of a vhost (the default one without a name)."""
        return f"amqp://{user}:{password}@127.0.0.1:{self.port}/{vhost}"

    @property
    def certificate(self) -> Path:
        """The certificate, for `localhost`, that signs itself."""
        return self.folder / "certificate.pem"

    def start(self) -> None:
        """Start epmd and the node and wait until it accepts connections."""
        self._prepare()
        if self._epmd is None:
            self._epmd = self._spawn([str(EPMD), "-port", str(self._epmd_port), "-address", "127.0.0.1"], "epmd")
        self._server = self._spawn([str(SCRIPTS / "rabbitmq-server")], "server")
        self._await_listening()

    def stop(self) -> None:
        """End the node in good order (SIGTERM); its messages stay on disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the node as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the node's process where it is, so that it neither answers nor closes its sockets."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen node go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End node and epmd."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl against this node."""
        command = [str(SCRIPTS / "rabbitmqctl"), "-n", self._node, "-q", *arguments]
        return subprocess.run(
            command, env=self._environment(), check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(uuid.uuid4().hex)
            cookie.chmod(0o400)
        self._certify()
        configuration = CONFIGURATION.format(port=self.port, tls_port=self.tls_port, folder=self.folder)
        (self.folder / "rabbitmq.conf").write_text(configuration + self._extra)
        (self.folder / "enabled_plugins").write_text("[].\n")

    def _certify(self) -> None:
        if not self.certificate.exists():
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            names = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
            files = ["-keyout", str(self.folder / "key.pem"), "-out", str(self.certificate)]
            subprocess.run([*command, *names, *files], check=True, capture_output=True, timeout=30)

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            **os.environ,
            "HOME": folder,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/rabbitmq-env.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
        }

    def _spawn(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log}.out").open("ab") as output:
            return subprocess.Popen(
                command,
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _await_listening(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._server is not None
            if self._server.poll() is not None:
                pytest.fail(f"rabbitmq-server ended: {(self.folder / 'server.out').read_text()[-2000:]}")
            if self._answers():
                return
            time.sleep(0.05)
        pytest.fail(f"rabbitmq-server did not listen within {START_SECONDS} s")

    def _answers(self) -> bool:
        """Whether the node speaks AMQP: a mere open port may belong to a node that is still booting."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.settimeout(2)
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return probe.recv(1) == b"\x01"
        except OSError:
            return False

    def _signal(self, number: int) -> None:
        """To every process of the session that we started: the script has become the VM, which has a helper."""
        assert self._server is not None
        os.killpg(self._server.pid, number)

    def _end(self, number: int) -> None:
        if self._server is None:
            return
        if self._server.poll() is None:
            if number == signal.SIGKILL:
                self._signal(number)
            else:
                self._server.send_signal(number)
        self._server.wait(timeout=60)
        self._server = None


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQServer]:
    """One node for the whole session; a test that ends or freezes it starts it again."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    server = RabbitMQServer(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def rabbitmq_url(rabbitmq_server: RabbitMQServer) -> str:
    """The address of the session's node, default vhost; use random queue names."""
    return rabbitmq_server.url()


@pytest.fixture
def rabbitmq_vhost(rabbitmq_server: RabbitMQServer) -> Iterator[str]:
    """The address of a fresh vhost, gone after the test. It costs about two seconds."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    rabbitmq_server.ctl("add_vhost", name)
    rabbitmq_server.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    yield rabbitmq_server.url(name)
    rabbitmq_server.ctl("delete_vhost", name)
