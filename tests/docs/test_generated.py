"""The generated pages of the reference say what the code says."""

from __future__ import annotations

import pytest

from docs.tools.pages import PAGES
from tests.docs.pages import DOCS


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run: python -m docs.tools"


def test_every_command_setting_and_broker_has_a_place() -> None:
    commands = (DOCS / "reference/commands.md").read_text()
    for command in ("longshore worker", "longshore dev", "longshore dead replay", "longshore-operator run"):
        assert f"\n## {command}\n" in commands
    assert "| `task_acks_late` | `False` |" in (DOCS / "reference/settings.md").read_text()
    assert (
        "| **SQLite** | **Redis** | **Redis Cluster** | **RabbitMQ** |" in (DOCS / "reference/brokers.md").read_text()
    )
