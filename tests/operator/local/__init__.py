"""Local mode: from manifests to processes on this machine."""
