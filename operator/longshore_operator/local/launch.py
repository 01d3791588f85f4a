"""Start a program that dies with its parent, whatever way the parent ends: ``python -m … launch PARENT PROGRAM ARG…``.

`longshore dev` may be killed with SIGKILL and must leave nothing running. The kernel's parent-death signal survives an
exec, so this module sets it and becomes the program; a fork hook in the parent would not be safe beside its threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
MODULE = "longshore_operator.local.launch"


def launch(parent: int, argv: list[str]) -> None:
    """Tie this process to `parent` and become the program; end at once if the parent is gone already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(argv[0], argv)  # noqa: S606 - this is what it is for


if __name__ == "__main__":
    launch(int(sys.argv[1]), sys.argv[2:])
