"""Loads programs of `benchmarks/` and `docs/`, whose functions some tests use."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def program(folder: str, name: str) -> ModuleType:
    """Return a module of a folder of the repository by its name; it may import its neighbours."""
    path = str(ROOT / folder)
    sys.path.insert(0, path)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(path)


def benchmark(name: str) -> ModuleType:
    """Return a program of `benchmarks/` by its name."""
    return program("benchmarks", name)
