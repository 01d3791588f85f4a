"""Brokers: the port, and one folder for each broker behind it."""

from __future__ import annotations

from longshore.brokers.registry import open_broker

__all__ = ["open_broker"]
