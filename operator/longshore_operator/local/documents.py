"""YAML text as documents that remember the lines of their fields, so that an error can name the place.

Knows YAML and files; knows nothing of what a document means.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what the user wrote, and where."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its value, its file, and the node tree that knows the lines."""

    file: str
    value: Any
    node: yaml.Node

    def line(self, path: Sequence[str | int] = ()) -> int:
        """Return the line of a field, or of the nearest one above it that is there."""
        node, line = self.node, _line(self.node)
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        return line


def read_documents(paths: Iterable[str], *, recursive: bool = False) -> tuple[list[Document], list[Problem]]:
    """Read every document of these files and folders (``-`` is standard input); report all that cannot be read."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for file, text in _texts(paths, recursive, problems):
        try:
            documents.extend(parse_documents(file, text))
        except yaml.YAMLError as error:
            problems.append(_yaml_problem(file, error))
    return documents, problems


def parse_documents(file: str, text: str) -> Iterator[Document]:
    """Yield the documents of one text; empty ones are left out."""
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            value = loader.construct_document(node) if node is not None else None
            if node is not None and value is not None:
                yield Document(file, value, node)
    finally:
        loader.dispose()


def _texts(paths: Iterable[str], recursive: bool, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path == STDIN:
            yield "<stdin>", sys.stdin.read()
            continue
        for file in _files(Path(path), recursive, problems):
            try:
                yield str(file), file.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError as error:
                problems.append(Problem(str(file), None, f"is not UTF-8 text (byte {error.start})"))
            except OSError as error:
                problems.append(Problem(str(file), None, f"cannot be read: {error.strerror}"))


def _files(path: Path, recursive: bool, problems: list[Problem]) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = path.rglob("*") if recursive else path.iterdir()
    files = sorted(file for file in found if file.suffix in SUFFIXES and file.is_file() and not _hidden(file, path))
    if not files:
        below = "" if recursive else "; --recursive looks into its folders"
        problems.append(Problem(str(path), None, f"holds no .yaml, .yml or .json file{below}"))
    return files


def _hidden(file: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(root).parts)


def _yaml_problem(file: str, error: yaml.YAMLError) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(file, None, f"is not YAML: {' '.join(str(error).split())}")
    mark = error.problem_mark or error.context_mark
    said = error.problem or error.context or "not readable"
    return Problem(file, mark.line + 1 if mark else None, f"is not YAML: {said}")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _child(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return _line(key), value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child = node.value[part]
        return _line(child), child
    return None
