"""What a source file measures. Pure but for reading the file: it knows nothing of tasks, queues or databases.

A file that cannot be measured raises one of three errors, whose class is the reason in the report.
"""

from __future__ import annotations

import ast
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIBRARY = Path(sysconfig.get_path("stdlib"))
FOREIGN = frozenset({"site-packages", "dist-packages"})


class NotMeasurable(Exception):
    """Base of the reasons for which a file has no figures."""


class UnknownEncoding(NotMeasurable):
    """The file declares an encoding that does not exist, or none that fits."""


class Undecodable(NotMeasurable):
    """The bytes are not text in the file's encoding."""


class InvalidSyntax(NotMeasurable):
    """The text is not this version's Python."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one file; `lines` is the sum of code, comments and blank lines."""

    lines: int = 0
    code: int = 0
    comments: int = 0
    blank: int = 0
    functions: int = 0
    classes: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(*(getattr(self, name) + getattr(other, name) for name in FIGURES))


FIGURES = tuple(Figures.__dataclass_fields__)


def source_files(root: Path = LIBRARY) -> Iterator[str]:
    """Yield every source file below `root`, relative to it, in order, without what was installed later."""
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if path.is_file() and FOREIGN.isdisjoint(relative.parts):
            yield relative.as_posix()


def measure_file(name: str, root: Path = LIBRARY) -> Figures:
    """Measure one file; raise `NotMeasurable` where it does not decode or parse."""
    text = _read(name, root)
    functions, classes = _definitions(name, text)
    lines = [line.strip() for line in text.splitlines()]
    blank = lines.count("")
    comments = sum(line.startswith("#") for line in lines)
    return Figures(len(lines), len(lines) - blank - comments, comments, blank, functions, classes)


def _read(name: str, root: Path) -> str:
    try:
        with tokenize.open(root / name) as file:
            return file.read()
    except SyntaxError as error:
        reason = str(error.msg).partition(" for ")[0]
        raise UnknownEncoding(f"{name}: {reason}") from None
    except UnicodeDecodeError as error:
        raise Undecodable(f"{name}: byte {error.start} is not {error.encoding}") from None


def _definitions(name: str, text: str) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, name)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise InvalidSyntax(f"{name}{line}: {getattr(error, 'msg', error)}") from None
    kinds = [type(node) for node in ast.walk(tree)]
    return kinds.count(ast.FunctionDef) + kinds.count(ast.AsyncFunctionDef), kinds.count(ast.ClassDef)
