"""Imports the files of local plugins as modules, in the driver and in workers alike."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import types
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import attrs

_PACKAGE = __name__.rpartition(".")[0]
_NAME = re.compile(rf"{re.escape(_PACKAGE)}\.file_([0-9a-f]+)_([0-9a-f]+)")


def contents_of(cls: type[Any]) -> str:
    """Return the digest of the file of a local plugin that defines a class; empty for other classes."""
    found = _NAME.fullmatch(cls.__module__)
    return found[2] if found else ""


def module_name(path: Path, digest: str) -> str:
    """Return the name of the module of a file."""
    return f"{_PACKAGE}.file_{os.fsencode(path).hex()}_{digest}"


def local_plugins(files: Iterable[tuple[Path, str]]) -> list[tuple[str, str, Callable[[], Any]]]:
    """Return (name, origin, loader) of local plugins, as :class:`lcframework.plugins.Plugins` takes them.

    Each is given by the path of its file and the digest of its contents. The origin is the path of the
    file. The loader raises ImportError where the file ends the process.
    """
    return [(path.stem, str(path), _loader(path, digest)) for path, digest in files]


def _loader(path: Path, digest: str) -> Callable[[], Any]:
    def load() -> Any:
        try:
            return importlib.import_module(module_name(path, digest))
        except SystemExit as error:
            raise ImportError(f"the file ends the process: sys.exit({error.code!r})") from None

    return load


@attrs.frozen
class FileLoader(Loader):
    """Runs a file as a module, where its contents are still those that the name of the module states."""

    path: Path
    digest: str

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        """Return None: a plain module."""
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the file; raises ImportError where it changed."""
        try:
            source = self.path.read_bytes()
        except OSError as error:
            raise ImportError(f"the local plugin {self.path} can't be read: {error.strerror}") from None
        if not hashlib.sha256(source).hexdigest().startswith(self.digest):
            raise ImportError(f"the local plugin {self.path} changed since the project was opened; run again")
        module.__file__ = str(self.path)
        # Compiled here, because the usual loader would leave a __pycache__ in the user's folder.
        exec(compile(source, str(self.path), "exec"), module.__dict__)


class LocalFinder(MetaPathFinder):
    """Finds the modules of local plugins by their names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module of this package that stands for a file; None for any other."""
        found = _NAME.fullmatch(fullname)
        if found is None:
            return None
        file = Path(os.fsdecode(bytes.fromhex(found[1])))
        return ModuleSpec(fullname, FileLoader(file, found[2]), origin=str(file))
