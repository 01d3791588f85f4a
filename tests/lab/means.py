"""Whether this machine can run a lab at all, and if not, why: skipped tests have to say it."""

from __future__ import annotations

import os
import shutil

from tests.lab import packages, tools


def why_never() -> str:
    """What only a person can change; empty when there is nothing."""
    if os.geteuid() != 0:
        return "the lab needs root"
    if tools.missing() and not shutil.which("go"):
        return "the lab needs Go 1.25 or newer to build its tools"
    return ""


def why_not_now() -> str:
    """Why no lab can be brought up right now; empty when one can."""
    if reason := why_never():
        return reason
    if missing := packages.missing():
        return f"the lab needs Debian packages ({', '.join(missing)}): `python -m tests.lab deps` installs them"
    return ""
