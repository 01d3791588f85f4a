"""The example codestats, from end to end."""
