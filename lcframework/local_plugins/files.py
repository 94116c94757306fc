"""Which files a project names as plugins of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lcframework.config.structuring import resolve_path
from lcframework.provenance import file_digest
from lcframework.trust import Code
from lcframework.types import LcfError

LOCAL_FOLDER = "plugins"
WHAT = "plugin of [plugins] local"


def local_codes(local: bool | Sequence[str], directory: Path) -> list[Code]:
    """Return the plugin files of a project; empty where the project file does not ask for any.

    Parameters
    ----------
    local : bool or sequence of str
        What ``[plugins] local`` says.
    directory : Path
        The folder of the project file.

    Raises
    ------
    LcfError
        Where a file that it names is not there, or two have one name.
    """
    if local is True:
        paths = [p for p in sorted((directory / LOCAL_FOLDER).glob("*.py")) if not p.name.startswith(("_", "."))]
        if not paths:
            raise LcfError(f"[plugins] local = true, but there is no plugin file in {directory / LOCAL_FOLDER}")
    else:
        paths = [resolve_path(name, directory) for name in local or ()]
    for path in paths:
        if path.suffix != ".py" or not path.is_file():
            raise LcfError(f'[plugins] local: "{path}" is not a Python file (name.py) that can be read')
    return [Code(WHAT, path.resolve(), file_digest(path)) for path in dict.fromkeys(paths)]
