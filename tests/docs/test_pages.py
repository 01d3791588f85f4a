"""What the pages say is there: links, commands, options, make targets, variables, tests, manifests, code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from docs.tools.commands import walk
from longshore.cli.main import cli as longshore
from longshore.settings import SETTINGS
from longshore_operator.api.manifests import parse
from longshore_operator.cli.main import cli as operator
from tests.docs.pages import DOCS, ROOT, anchors, blocks, inline_code, links, name_of, pages, prose
from tests.support.workers import SOURCES

PAGES = pages()
COMMANDS = dict([*walk(longshore, "longshore"), *walk(operator, "longshore-operator")])
CODE = "\n".join(
    path.read_text()
    for folder in ("runtime", "operator", "charts", "docs/examples")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and path.suffix in {".py", ".yaml", ".lua", ".tpl", ".txt"}
)
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))

page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def test_there_are_pages() -> None:
    assert len(PAGES) > 20


@page
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert ROOT in target.parents, f"{link} leads out of the repository"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading; there are {anchors(target)}"


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the command lines of Longshore's programs in blocks of code and in the text."""
    lines = [line for block in blocks(page) if block.language in {"sh", "console"} for line in block.text.splitlines()]
    for line in [*lines, *inline_code(page)]:
        found = re.search(r"(?:^|[$|] |-- )(longshore(?:-operator)? [a-z-].*)$", line)
        if found and "…" not in line:
            words = shlex.split(found[1], comments=True)
            yield words[: words.index("|")] if "|" in words else words


@page
def test_commands_and_their_options_exist(page: Path) -> None:
    for words in command_lines(page):
        name, rest = longest_command(words)
        command = COMMANDS[name]
        if isinstance(command, click.Group):
            assert not rest or rest[0].startswith("-"), f"{' '.join(words)}: no such command"
        known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        for word in rest:
            option = word.split("=")[0]
            assert not re.match(r"--?[a-zA-Z]", word) or option in {*known, "--help", "-h"}, f"{name} has no {option}"


def longest_command(words: list[str]) -> tuple[str, list[str]]:
    for length in range(len(words), 0, -1):
        if (name := " ".join(words[:length])) in COMMANDS:
            return name, words[length:]
    raise AssertionError(f"{' '.join(words)} is not a command")


@page
def test_options_in_the_text_exist(page: Path) -> None:
    known = {option for command in COMMANDS.values() for param in command.params for option in param.opts}
    theirs = {"--chaos", "--set"}  # of the example, of helm
    for code in inline_code(page):
        if code.startswith("--"):
            option = re.split(r"[ =]", code)[0]
            assert option in known | theirs | {"--help"}, f"{option} is no option"


@page
def test_make_targets_exist(page: Path) -> None:
    makefiles = "\n".join(path.read_text() for path in (ROOT / "Makefile", *ROOT.glob("*.mk")))
    code = "\n".join(
        [*inline_code(page), *(block.text for block in blocks(page) if block.language in {"sh", "console"})]
    )
    for target in re.findall(r"\bmake ([a-z][a-z-]+)", code):
        assert re.search(rf"^{target}:", makefiles, re.MULTILINE), f"there is no `make {target}`"


@page
def test_environment_variables_and_metrics_exist(page: Path) -> None:
    for name in set(re.findall(r"\bLONGSHORE_[A-Z_]+\b|\blongshore_[a-z]+_[a-z_]+\b", page.read_text())):
        assert name in CODE, f"nobody knows {name}"


@page
def test_tests_that_are_named_exist(page: Path) -> None:
    for name in set(re.findall(r"\btest_\w+\b(?!\.py)", prose(page))):
        assert f"def {name}(" in TESTS, f"there is no {name}"


@page
def test_files_that_are_named_exist(page: Path) -> None:
    for code in inline_code(page):
        if re.fullmatch(r"(runtime|operator|tests|docs|charts|crds)/[\w./-]+", code):
            assert (ROOT / code).exists(), f"there is no {code}"


@page
def test_manifests_are_accepted(page: Path) -> None:
    for block in blocks(page):
        if block.language == "yaml" and "apiVersion: longshore.dev" in block.text:
            for document in yaml.safe_load_all(block.text):
                assert parse(document).metadata.name


@page
def test_python_code_runs(page: Path, tmp_path: Path) -> None:
    """Complete programs, which import longshore, are run; what quotes the example or another library is compiled."""
    for block in blocks(page):
        if block.language != "python" or page.name == "python.md":
            continue
        compile(block.text, name_of(page), "exec")
        if re.search(r"^from longshore", block.text, re.MULTILINE) and "BankUnavailable" not in block.text:
            environment = {
                **os.environ,
                "LONGSHORE_BROKER_URL": f"sqlite:///{tmp_path}/tasks.db",
                "PYTHONPATH": os.pathsep.join([str(ROOT / "docs" / "examples" / "django"), SOURCES]),
            }
            done = subprocess.run(
                [sys.executable, "-c", block.text], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr


@page
def test_nothing_of_this_machine_stands_in_it(page: Path) -> None:
    text = page.read_text()
    assert "/work/" not in text
    assert "/root/" not in text


def test_the_settings_that_pages_name_exist() -> None:
    for path in PAGES:
        for name in re.findall(r"`((?:task|result|worker|broker)_[a-z_]+)(?: = .*)?`", prose(path)):
            known = name in SETTINGS or re.search(rf"\b{name}\b", CODE)
            assert known, f"{name_of(path)}: nobody knows {name}"


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (DOCS / "index.rst").read_text().split()
    overview = set(links(DOCS / "README.md"))
    for path in PAGES:
        if DOCS in path.parents and "examples" not in path.parts and path != DOCS / "README.md":
            name = str(path.relative_to(DOCS))
            assert name.removesuffix(".md") in contents, f"docs/index.rst lacks {name}"
            assert name in overview, f"docs/README.md lacks {name}"


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="needs Sphinx: `make docs` installs it")
    pytest.importorskip("furo", reason="needs furo: `make docs` installs it")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        str(DOCS),
        str(tmp_path / "html"),
    ]
    done = subprocess.run([*command, "-d", str(tmp_path / "cache")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html/index.html").exists()
