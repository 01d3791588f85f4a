"""Longshore: Python task workers that never lose a task."""
