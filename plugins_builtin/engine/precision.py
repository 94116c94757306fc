"""Double precision in JAX where a fit needs it, without a change of the process's settings."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module

import jax


def double_precision() -> AbstractContextManager[None]:
    """Return a context in which JAX computes in float64."""
    # In older releases of JAX it is in jax.experimental.
    home = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    context: AbstractContextManager[None] = home.enable_x64(True)
    return context
