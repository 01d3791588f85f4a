"""A pytest plugin: an app of the test's own, on a broker in a file, and a worker in its process.

Override `longshore_config` for settings, or mark a test with ``@pytest.mark.longshore(task_always_eager=True)``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from longshore.app import Longshore
    from longshore.worker.options import WorkerOptions


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "longshore(**settings): settings of the `longshore_app` of this test")


@pytest.fixture(scope="session")
def longshore_config() -> dict[str, Any]:
    """Settings of the apps that the fixtures make; override it."""
    return {}


@pytest.fixture(scope="session")
def longshore_includes() -> tuple[str, ...]:
    """Modules whose tasks the apps need; override it."""
    return ()


@pytest.fixture
def longshore_app(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    longshore_config: dict[str, Any],
    longshore_includes: tuple[str, ...],
) -> Iterator[Longshore]:
    """An app with a broker and results in a file of this test. It is the current app for as long, so that tasks of
    `shared_task` belong to it.
    """
    marker = request.node.get_closest_marker("longshore")
    with _app(tmp_path, longshore_config | dict(marker.kwargs if marker else {}), longshore_includes) as app:
        yield app


@pytest.fixture(scope="session")
def longshore_session_app(
    tmp_path_factory: pytest.TempPathFactory, longshore_config: dict[str, Any], longshore_includes: tuple[str, ...]
) -> Iterator[Longshore]:
    """An app for the whole run of pytest."""
    with _app(tmp_path_factory.mktemp("longshore"), longshore_config, longshore_includes) as app:
        yield app


@pytest.fixture
def longshore_worker(longshore_app: Longshore) -> Iterator[WorkerOptions]:
    """A worker of `longshore_app`, in threads of this process; when the test ends it has drained."""
    from longshore.contrib.testing import start_worker

    with start_worker(longshore_app) as worker:
        yield worker


@pytest.fixture(scope="session")
def longshore_session_worker(longshore_session_app: Longshore) -> Iterator[WorkerOptions]:
    """A worker of `longshore_session_app`."""
    from longshore.contrib.testing import start_worker

    with start_worker(longshore_session_app) as worker:
        yield worker


@contextlib.contextmanager
def _app(folder: Path, settings: dict[str, Any], includes: tuple[str, ...]) -> Iterator[Longshore]:
    """Make an app the current one for a while. Longshore is imported late: pytest loads plugins in every run."""
    from longshore.app import Longshore
    from longshore.registry import apps

    broker = f"sqlite:///{folder}/longshore.db"
    before = apps.current
    app = Longshore("tests", include=includes, **{"broker_url": broker, "result_backend": broker, **settings})
    try:
        yield app
    finally:
        app.close()
        apps.current = before
