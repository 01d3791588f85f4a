"""A broker that goes away costs remote control one line in the log, and comes back with it."""

from __future__ import annotations

import pytest

from longshore import Longshore
from tests.support.workers import running_worker, wait_for
from tests.worker.conftest import APP

pytestmark = pytest.mark.integration


def test_the_node_answers_again_when_the_broker_is_back(new_redis, tmp_path):
    server = new_redis("--appendonly", "yes")
    app = Longshore("client", broker=server.url(), set_as_current=False)
    log, environ = tmp_path / "log", {"EFFECTS": str(tmp_path / "effects")}
    with running_worker(APP, "-Q", "q", "-c", "1", "-n", "w@here", "-E", broker=server.url(), log=log, environ=environ):
        wait_for("it answers", lambda: app.control.ping(["w@here"], timeout=0.5))
        server.kill()
        wait_for("it is told", lambda: "remote control:" in log.read_text())
        server.start()
        wait_for("it answers again", lambda: app.control.ping(["w@here"], timeout=0.5))
        assert log.read_text().count("remote control:") == 1
        assert "Traceback" not in log.read_text()
    app.close()
