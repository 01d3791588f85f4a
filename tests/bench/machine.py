"""What a run ran on."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Return the machine and the servers' versions."""
    return {
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "redis": _debian("redis-server"),
        "rabbitmq": _debian("rabbitmq-server"),
        "commit": _first_line("git", "rev-parse", "--short", "HEAD"),
    }


def load() -> float:
    """Return how many processes wanted to run, on average of the last minute."""
    return os.getloadavg()[0]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _debian(package: str) -> str | None:
    return _first_line("dpkg-query", "-W", "-f", "${Version}", package)


def _first_line(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    except FileNotFoundError:
        return None
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else None
