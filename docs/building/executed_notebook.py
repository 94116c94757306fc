"""The tutorial with its outputs: executed once for the pages and for the tests, and again when it would differ.

    python docs/building/executed_notebook.py

prints the folder that holds ``executed.ipynb`` and what the notebook wrote.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
NOTEBOOK = DOCS / "tutorial.ipynb"
EXECUTED = "executed.ipynb"
_CACHE = DOCS / "_build" / "tutorial"
_CODE = ("lcframework", "plugins_builtin")
_TIMEOUT = 600  # s, for a cell
_NOT_HANDED_ON = ("MPLBACKEND", "LCF_DISABLE_PLUGINS")


def key() -> str:
    """Return a digest of the notebook, of all code that it may run, and of the Python that runs it."""
    made = hashlib.sha256(f"{sys.version} {sys.prefix}".encode())
    for path in (NOTEBOOK, *sorted(p for folder in _CODE for p in (DOCS.parent / folder).rglob("*.py"))):
        made.update(f"{path.relative_to(DOCS.parent)}\0".encode())
        made.update(path.read_bytes())
    return made.hexdigest()[:16]


def executed() -> Path:
    """Return the folder of the executed notebook; execute it where this notebook with this code has not been.

    Returns
    -------
    Path
        With ``executed.ipynb``, and the campaign that the notebook simulated and measured.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        Where a cell fails.
    """
    folder = _CACHE / key()
    with _alone():
        if not (folder / EXECUTED).exists():
            shutil.rmtree(_CACHE, ignore_errors=True)  # of other code, or of an execution that was stopped
            folder.mkdir(parents=True)
            _execute(folder)
    return folder


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other process, of pages or tests, executes the notebook."""
    _CACHE.parent.mkdir(parents=True, exist_ok=True)
    with open(_CACHE.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _execute(folder: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=_TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    # The notebook makes its campaign in the folder for temporary files. The reader's settings of IPython are none of
    # ours, nor are those that the pages or tests are made with.
    own = {"TMPDIR": str(folder), "IPYTHONDIR": str(folder / ".ipython")}
    client.execute(env={name: value for name, value in os.environ.items() if name not in _NOT_HANDED_ON} | own)
    part = folder / f"{EXECUTED}.part"
    nbformat.write(notebook, part)
    part.replace(folder / EXECUTED)


def text_for_pages() -> str:
    """Return the executed notebook's text, without the place where it was executed."""
    folder = executed()
    text = (folder / EXECUTED).read_text(encoding="utf-8")
    return text.replace(json.dumps(str(folder))[1:-1], "/tmp")


if __name__ == "__main__":
    print(executed())
