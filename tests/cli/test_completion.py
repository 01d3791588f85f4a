"""What a shell asks while somebody types."""

import os
import subprocess
import sys

import pytest

from tests.support.workers import SOURCES, run_command


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell):
    done = run_command("completion", shell)
    assert done.returncode == 0, done.stderr
    assert f"_LONGSHORE_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("longshore ", {"worker", "queue", "dead", "call", "dev", "manifests"}),
        ("longshore que", {"queue"}),
        ("longshore dead ", {"ls", "show", "replay", "purge"}),
        ("longshore worker x --exec", {"--execution"}),
        ("longshore worker x --execution ", {"processes", "threads", "asyncio"}),
    ],
)
def test_commands_options_and_choices_are_offered(typed, offered):
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1), "_LONGSHORE_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "longshore"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCES, **words},
        timeout=60,
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} >= offered, done.stderr
