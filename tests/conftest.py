"""What all tests share: no network, the command line run in this process, packages and services to test with."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import checked_shapes
import pytest

from lcframework.cli import main as cli

# Before any test or plugin imports it.
checked_shapes.install("plugins_builtin.engine")

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def pytest_runtest_setup() -> None:
    """Check the first calls of each test."""
    checked_shapes.begin_test()


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuse connections to other machines."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _LOOPBACK:
            raise OSError(f"tests do not use the network ({address[0]})")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_code_may_run() -> Iterator[None]:
    """Allow the code of the tests' own projects; tests of the question itself undo it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LCF_TRUST", "all")
        yield


@attrs.frozen
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def run_lcf(*arguments: object) -> Ended:
    """Run ``lcf`` as its console script does, in this process."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["lcf", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
    return Ended(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def lcf() -> Callable[..., Ended]:
    """Return a function that runs ``lcf``."""
    return run_lcf


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that installs a package as pip would leave it: a module and its metadata."""

    def write(name: str, code: str, entry_points: dict[str, str]) -> Path:
        folder = tmp_path / f"site-{name}"
        folder.mkdir()
        module = name.replace("-", "_")
        (folder / f"{module}.py").write_text(code)
        info = folder / f"{module}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        rows = "\n".join(f"{key} = {value}" for key, value in entry_points.items())
        (info / "entry_points.txt").write_text(f"[lcframework]\n{rows}\n")
        monkeypatch.syspath_prepend(folder)
        # Spawned workers start from the environment.
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        monkeypatch.delitem(sys.modules, module, raising=False)
        return folder

    return write


@pytest.fixture
def tap_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Return a function that starts a TAP service on loopback with tables by name; all are stopped in the end."""
    from tap_server import TapServer

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    started: list[Any] = []

    def start(tables: dict[str, Any]) -> Any:
        started.append(TapServer(tables))
        return started[-1]

    yield start
    for server in started:
        server.close()
