"""Fixtures for all tests of the operator: one API server for the whole session."""

from tests.support.apiserver import api_server, bare_api_server, namespace

__all__ = ["api_server", "bare_api_server", "namespace"]
