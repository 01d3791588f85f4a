"""The tutorial of the laptop, carried out as a reader does it: every command, and what it is said to print."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, Step, steps
from tests.docs.terminal import Terminal, matches

TUTORIAL = DOCS / "tutorial/laptop.md"


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    for name in ("LONGSHORE_BROKER_URL", "LONGSHORE_RESULT_BACKEND", "LONGSHORE_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    shop = tmp_path / "shop"
    shutil.copytree(DOCS / "examples/shop", shop, ignore=shutil.ignore_patterns("__pycache__", ".longshore"))
    terminal = Terminal(shop, str(Path(sys.executable).parent))
    yield terminal
    terminal.close()


@pytest.mark.timeout(240)
def test_every_command_does_what_the_page_says(terminal: Terminal) -> None:
    commands = steps(TUTORIAL)
    assert len(commands) > 12
    for step in commands:
        terminal.run(step)


@pytest.mark.parametrize(
    ("expected", "printed", "fits"),
    [
        (["a", "c"], "a\nb\nc", True),
        (["c", "a"], "a\nb\nc", False),
        (["after ... s: 3 tasks"], "after 1.25 s: 3 tasks", True),
        (["after ... s: 3 tasks"], "after 1.25 s: 4 tasks", False),
        (["00000000-0000-0000-0000-000000000000"], "6a0d4b8e-2c9c-4a4e-9f8e-0123456789ab", True),
        (["00000000-0000-0000-0000-000000000000"], "none", False),
        ([], "whatever", True),
    ],
)
def test_how_a_page_is_compared_with_a_terminal(expected: list[str], printed: str, fits: bool) -> None:
    assert matches(Step("x", expected), printed) is fits
