"""What several plugins' tests share: the benchmarks' functions, and JAX without conversions that nobody asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import programs
import pytest

# Where our own JAX code runs, but for the modules that compare it with STARRED's, which mixes types and ranks.
_STRICT = ("engine", "psf_models")
_WITH_STARRED = ("test_against_starred.py", "test_starred_reference.py")


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """Return a function that loads a program of `benchmarks/` by its name."""
    return programs.benchmark


@contextlib.contextmanager
def _promotion(dtypes: str, ranks: str) -> Iterator[None]:
    """Have JAX promote types and ranks so, in all threads."""
    import jax

    names = ("jax_numpy_dtype_promotion", "jax_numpy_rank_promotion")
    before = [getattr(jax.config, name) for name in names]
    try:
        for name, value in zip(names, (dtypes, ranks), strict=True):
            jax.config.update(name, value)
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            jax.config.update(name, value)


@pytest.fixture(autouse=True, scope="module")
def _strict_jax(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse arrays of different types or ranks in one operation: our code states what it means.

    For a module, as fixtures of modules run the fits.
    """
    inside = request.path.relative_to(Path(__file__).parent).parts
    if inside[0] not in _STRICT or inside[-1] in _WITH_STARRED:
        yield
        return
    with _promotion("strict", "raise"):
        yield


@pytest.fixture
def calls_starred() -> Iterator[None]:
    """Let JAX promote types and ranks as STARRED needs it."""
    with _promotion("standard", "allow"):
        yield
