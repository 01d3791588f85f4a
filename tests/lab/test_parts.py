"""The lab's pure parts: they need neither root nor a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import debian, images, network, tools, wheels
from tests.lab.machine import Before
from tests.lab.processes import Identity, Processes, identify
from tests.lab.shell import CommandFailed, LabError, run
from tests.lab.waiting import NotInTime, wait_until

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
STUBBORN = (sys.executable, "-c", DEAF)


def test_a_process_is_ended_by_its_name(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("sleeper", *SLEEP)
    assert processes.alive("sleeper")
    processes.stop("sleeper")
    assert not processes.alive("sleeper")
    assert processes.names() == []


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("stubborn", *STUBBORN)
    log = processes.logs / "stubborn.log"
    wait_until("it ignores SIGTERM", log.read_text, 10)
    processes.stop("stubborn", grace=0.1)
    assert not processes.alive("stubborn")


def test_a_number_that_somebody_else_has_by_now_is_left_alone() -> None:
    mine = identify(os.getpid())
    assert mine.alive
    namesake = Identity(mine.pid, "long ago")
    assert not namesake.alive
    namesake.send(signal.SIGKILL)


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    identity = identify(child.pid)
    wait_until("its end", lambda: not identity.alive, 10)
    child.wait()


def test_a_process_that_has_ended_by_itself_is_named_with_its_last_words(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("broken", sys.executable, "-c", "print('no such flag')")
    wait_until("its end", lambda: not processes.alive("broken"), 10)
    with pytest.raises(LabError, match="broken has ended: no such flag"):
        processes.require("broken")
    processes.stop("broken")


def test_a_command_that_fails_says_what_it_printed() -> None:
    with pytest.raises(CommandFailed, match="exit code 3: what went wrong"):
        run("sh", "-c", "echo what went wrong >&2; exit 3")


def test_waiting_in_vain_says_what_for_and_what_was_seen_last() -> None:
    with pytest.raises(NotInTime, match=r"two nodes: not within 0 s; the last answer was \[\]"):
        wait_until("two nodes", list, 0)


def test_a_command_that_fails_while_waiting_is_tried_again() -> None:
    with pytest.raises(NotInTime, match="exit code 1"):
        wait_until("success", lambda: run("false"), 0)


def test_addresses_that_are_in_use_are_refused() -> None:
    with pytest.raises(LabError, match=r"10\.244\.0\.0/16.* 10\.244\.7\.0/24"):
        network.refuse_taken_addresses(["192.168.1.0/24", "10.244.7.0/24"])


def test_other_addresses_are_no_trouble() -> None:
    network.refuse_taken_addresses(["192.168.1.0/24", "172.17.0.0/16", "169.254.169.254"])


ONE_LINE = """
# deb http://mirror.example/old bookworm main
deb [signed-by=/usr/share/keyrings/x.gpg] http://mirror.example/debian bookworm main contrib
deb-src http://mirror.example/source bookworm main
"""

STANZAS = """
Types: deb deb-src
# the nearest one
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb-src
URIs: http://mirror.example/source
Suites: bookworm
"""


@pytest.mark.parametrize(
    ("text", "suites"),
    [(ONE_LINE, ["bookworm"]), (STANZAS, ["bookworm", "bookworm-updates"])],
    ids=["one line", "stanzas"],
)
def test_the_mirror_is_read_in_both_formats_of_apt(text: str, suites: list[str]) -> None:
    assert debian.entries([text]) == [("http://mirror.example/debian", suites)]


def test_pips_settings_are_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    index = "https://index.example/simple"
    listing = f"global.index-url='{index}'\n:env:.find-links='\\n{tmp_path}\\n/missing'\ninstall.user='1'"
    settings = wheels.pip_settings(listing)
    assert settings == {"PIP_INDEX_URL": index, "PIP_FIND_LINKS": f"{tmp_path} /missing"}
    assert wheels.paths_in(settings) == [tmp_path]


def test_a_key_tells_ingredients_apart() -> None:
    assert images.key_of("ab", "c") != images.key_of("a", "bc")
    assert images.key_of("ab", b"c") == images.key_of("ab", "c")


def test_kubernetes_is_told_the_version_of_its_module() -> None:
    kubelet = next(tool for tool in tools.TOOLS if tool.name == "kubelet")
    version = tools.required_version(kubelet.module, "k8s.io/kubernetes")
    assert f"-X k8s.io/component-base/version.gitVersion={version}" in tools.linker_flags(kubelet)


def test_a_folder_that_is_no_labs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(LabError, match="is not the state of a lab"):
        Before.recall(tmp_path)


def test_what_the_machine_was_like_is_remembered(tmp_path: Path) -> None:
    before = Before(sysctls={"kernel/panic": "0"}, made_folders=["/somewhere"])
    before.remember(tmp_path)
    assert Before.recall(tmp_path) == before


def test_no_note_means_no_lab(tmp_path: Path) -> None:
    assert Before.recall(tmp_path / "missing") is None
