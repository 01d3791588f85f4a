"""A real PostgreSQL for tests: Debian's programs, a cluster and a port of its own, as an unprivileged user.

PostgreSQL refuses to run as root: there, the package's own user runs it. Where the package is not installed, the tests
that need it are skipped with that reason.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.redis import free_port

START_SECONDS = 30.0


def programs() -> Path | None:
    """Return the folder of the newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    program = shutil.which("postgres")
    return Path(program).parent if program else None


def missing() -> str | None:
    """Return why PostgreSQL cannot be started here, or `None`."""
    if programs() is None:
        return "PostgreSQL is not installed (apt-get install postgresql)"
    if not (find_spec("sqlalchemy") and find_spec("psycopg")):
        return "SQLAlchemy or psycopg is not installed (pip install 'longshore[sql]' 'psycopg[binary]')"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


def _user() -> int | None:
    try:
        return pwd.getpwnam("postgres").pw_uid
    except KeyError:
        return None


class PostgresServer:
    """One server, without durability: it is gone after the tests."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="longshore-postgres-"))
        self.port = free_port()
        self._as = _user() if os.geteuid() == 0 else None
        if self._as is not None:
            os.chown(self.folder, self._as, -1)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database, as Celery writes it."""
        return f"db+postgresql+psycopg://tests:secret@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        """Make the cluster."""
        password = self.folder / "password"
        password.write_text("secret\n")
        password.chmod(0o644)
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "tests", "--pwfile", str(password),
                  "--auth", "scram-sha-256", "--no-sync", "-E", "UTF8", "--no-locale")  # fmt: skip

    def start(self) -> None:
        """Start the server and wait until it answers."""
        folder, bin_folder = self.folder, programs()
        assert bin_folder is not None
        options = ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-k", str(folder), "-F"]
        with (folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [bin_folder / "postgres", "-D", folder / "data", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=self._as, cwd=folder,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port), check=False) != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start: {(folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server at once, its clients with it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=30)
            self._process = None

    def freeze(self) -> None:
        """Stop the process that accepts connections: a new client gets no answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def new_database(self) -> str:
        """Make a database and return its address."""
        name = f"t{uuid.uuid4().hex[:12]}"
        environ = {**os.environ, "PGPASSWORD": "secret"}
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "tests", name, environ=environ)
        return self.url(name)

    def close(self) -> None:
        """End it and remove what it left."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *words: str, check: bool = True, environ: dict[str, str] | None = None) -> int:
        bin_folder = programs()
        assert bin_folder is not None
        done = subprocess.run(
            [bin_folder / program, *words], check=False, capture_output=True, text=True, timeout=60,
            user=self._as, cwd=self.folder, env=environ,
        )  # fmt: skip
        if check and done.returncode:
            pytest.fail(f"{program}: {done.stderr}")
        return done.returncode


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole session; who freezes or stops it starts it again."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    server = PostgresServer()
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The address of a fresh database on the session's server."""
    return postgres_server.new_database()
