"""What several plugins' tests share: a TAP service on loopback, and the benchmarks' functions."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def _module(path: Path) -> ModuleType:
    """Return a module that no package holds."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_MODULE = _module(Path(__file__).with_name("tap_server.py"))


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """Return a function that loads a program of `benchmarks/` by its name."""
    return lambda name: _module(Path(__file__).parents[2] / "benchmarks" / f"{name}.py")


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
