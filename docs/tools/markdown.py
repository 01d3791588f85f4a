"""The little Markdown that the generated pages need."""

from collections.abc import Iterable, Sequence

NOTICE = "<!-- Made by `python -m docs.tools`; do not edit. -->"


def page(title: str, *sections: str) -> str:
    """Return a page: its title, the notice, its sections."""
    return "\n\n".join([f"# {title}", NOTICE, *sections]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: str, language: str = "text") -> str:
    """Return a block of code."""
    return f"```{language}\n{text}\n```"
