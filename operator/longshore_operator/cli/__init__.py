"""The `longshore-operator` command."""
