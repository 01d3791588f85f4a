"""One module a system: the same tasks written for it, run in its own environment with this folder on the path."""
