"""A TAP service on loopback for the catalogues' and surveys' tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("tap_server", Path(__file__).with_name("tap_server.py"))
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)


@pytest.fixture
def tap_service(monkeypatch):
    """Return a function that starts a service with tables by name; all are stopped in the end."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    started = []

    def start(tables):
        started.append(_MODULE.TapServer(tables))
        return started[-1]

    yield start
    for server in started:
        server.close()
