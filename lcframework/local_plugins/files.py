"""Which files a project names as plugins of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lcframework.config.structuring import resolve_path
from lcframework.provenance import file_digest
from lcframework.trust import Code
from lcframework.types import LcfError

LOCAL_FOLDER = "plugins"
WHAT = "plugin of [plugins] local"


def local_codes(raw: Mapping[str, Any], directory: Path) -> list[Code]:
    """Return the plugin files of a project; empty where the project file does not ask for any.

    Parameters
    ----------
    raw : mapping
        The parsed project file.
    directory : Path
        Its folder.

    Raises
    ------
    LcfError
        Where a file that it names is not there, or two have one name.
    """
    section = raw.get("plugins")
    local = section.get("local", False) if isinstance(section, Mapping) else False
    if local is True:
        paths = [p for p in sorted((directory / LOCAL_FOLDER).glob("*.py")) if not p.name.startswith(("_", "."))]
        if not paths:
            raise LcfError(f"[plugins] local = true, but there is no plugin file in {directory / LOCAL_FOLDER}")
    elif isinstance(local, list):
        paths = [resolve_path(name, directory) for name in local if isinstance(name, str)]
    else:
        return []  # none, or a value that reading the section refuses
    for path in paths:
        if path.suffix != ".py" or not path.is_file():
            raise LcfError(f'[plugins] local: "{path}" is not a Python file (name.py) that can be read')
    return [Code(WHAT, path.resolve(), file_digest(path)) for path in dict.fromkeys(paths)]
