"""The pages of the documentation, and what stands in them: blocks of code, links, headings, commands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^(`{3,})(\S*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    language: str
    text: str


def pages() -> list[Path]:
    """Return every page: the README and all Markdown below `docs`."""
    found = [ROOT / "README.md", *DOCS.rglob("*.md")]
    return sorted(page for page in found if "_build" not in page.parts)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    return [Block(language, text) for _, language, text in _FENCE.findall(page.read_text())]


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return _FENCE.sub("", page.read_text())


def inline_code(page: Path) -> list[str]:
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page))]


def links(page: Path) -> list[str]:
    """Return the targets of links and pictures, those of code left out."""
    text = re.sub(r"`[^`]*`", "", prose(page))
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as forges make them."""
    found = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@dataclass
class Step:
    """One command of a console block and the lines that it is said to print; `^C` interrupts what runs."""

    command: str
    expected: list[str]


def steps(page: Path) -> list[Step]:
    """Return the commands of all console blocks, in order."""
    found: list[Step] = []
    for block in blocks(page):
        for line in block.text.splitlines() if block.language == "console" else ():
            if line.startswith("$ ") or line == "^C":
                found.append(Step(line.removeprefix("$ "), []))
            elif line.startswith("> "):
                found[-1].command += "\n" + line.removeprefix("> ")
            else:
                found[-1].expected.append(line)
    return found
