"""The state folder: one run at a time, and one line where it cannot be used."""

import os
import subprocess
import sys

import pytest

from longshore_operator.local.state import StateError, StateFolder
from tests.support.workers import wait_for

HOLD = """
import sys, time
from pathlib import Path
from longshore_operator.local.state import StateFolder
StateFolder(Path(sys.argv[1])).open()
print("held", flush=True)
sys.stdin.read()
"""


def test_is_made_and_stays_out_of_git(tmp_path):
    state = StateFolder(tmp_path / "a/b")
    state.open()
    assert (tmp_path / "a/b/.gitignore").read_text() == "*\n"
    assert state.broker_url == f"sqlite:///{tmp_path / 'a/b/broker.db'}"
    state.close()


def test_a_second_run_names_the_holder_and_the_folder_is_free_when_that_is_killed(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StateError, match=rf"in use by another `longshore dev` \(pid {holder.pid}\)"):
            StateFolder(tmp_path).open()
        holder.kill()
        holder.wait()
        state = StateFolder(tmp_path)
        wait_for("the lock is free", lambda: _opens(state), 5)
        state.close()


def _opens(state: StateFolder) -> bool:
    try:
        state.open()
    except StateError:
        return False
    return True


@pytest.mark.skipif(os.geteuid() != 0, reason="/proc refuses root too; others are refused by any folder of root's")
def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(StateError, match=r"cannot be used: .*; choose another with --state DIR"):
        StateFolder(tmp_path.__class__("/proc/longshore")).open()


def test_a_file_in_its_place(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError, match="cannot be used"):
        StateFolder(tmp_path / "state").open()
