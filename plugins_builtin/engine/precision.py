"""Double precision in JAX where a fit needs it, without touching the process's settings."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module

import jax


def double_precision() -> AbstractContextManager[None]:
    """Return a context in which JAX knows float64."""
    # Older releases of JAX have it among their experiments.
    home = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    context: AbstractContextManager[None] = home.enable_x64(True)
    return context
