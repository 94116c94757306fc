"""Loads the programs of `benchmarks/`, whose functions some tests use."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@functools.cache
def benchmark(name: str) -> ModuleType:
    """Return a program of `benchmarks/` by its name; it may import its neighbours."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))
