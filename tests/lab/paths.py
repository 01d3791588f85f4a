"""Where the lab keeps things. Three folders, because they have three lifetimes."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TOOL_MODULES = Path(__file__).resolve().parent / "tools"

STATE = REPOSITORY / ".lab"
"""The running cluster; `down` removes it."""

BINARIES = REPOSITORY / ".lab-bin"
"""The tools, built once from their Go modules."""

CACHE = REPOSITORY / ".lab-cache"
"""What is slow to make again and does not belong to one cluster: the base image, wheels, image layers."""

ADMIN_KUBECONFIG = STATE / "admin.kubeconfig"
