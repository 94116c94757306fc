"""An environment of its own into which pip installs, without a network, on top of what this one has."""

from __future__ import annotations

import importlib.util
import os
import site
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pages

_COMMANDS = {
    "lcf": "from lcframework.cli.main import main; main()",
    "pytest": "import pytest; sys.exit(pytest.console_main())",
}


def make(folder: Path, work: Path) -> Callable[[str], str]:
    """Make an environment, and return a function that runs a command line in `work` and returns what it prints.

    The commands ``pip``, ``lcf`` and ``pytest`` are those of the environment; one that fails is an AssertionError.
    """
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    paths = [str(pages.ROOT), *site.getsitepackages(), *(p for p in sys.path if p.endswith("site-packages"))]
    builder = importlib.util.find_spec("hatchling")
    if builder is not None and builder.origin is not None:
        paths.append(str(Path(builder.origin).parents[1]))
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "zz_parent.pth").write_text("\n".join(dict.fromkeys(paths)) + "\n")
    for name, code in _COMMANDS.items():
        _script(folder / "bin" / name, python, f"import sys; sys.argv[0] = {name!r}; {code}")
    pip = folder / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --python {python} "$@"\n')
    pip.chmod(0o755)
    env = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(folder),
           "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
           "PIP_ROOT_USER_ACTION": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    env.pop("PYTHONPATH", None)

    def shell(command: str) -> str:
        ended = subprocess.run(["bash", "-ec", command], cwd=work, env=env, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{command}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    return shell


def _script(path: Path, python: Path, code: str) -> None:
    path.write_text(f"#!{python}\n{code}\n")
    path.chmod(0o755)
