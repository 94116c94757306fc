"""The device that JAX uses, and the folder of its cache of compiled programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: The environment variable that limits a process's memory, bytes: batches of fits are sized by it.
MEMORY_LIMIT = "LCF_MEMORY_LIMIT"


def prepare_device(device: str) -> None:
    """Set JAX's device and the folder of its compilation cache, before or after JAX is imported."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lcframework" / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    if device != "auto":
        os.environ["JAX_PLATFORMS"] = "cpu" if device == "cpu" else "cuda"
    if (jax := sys.modules.get("jax")) is not None:
        # JAX has read the variables already. Workers will still read them.
        jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
        least = float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
        if device != "auto" and jax.config.jax_platforms != os.environ["JAX_PLATFORMS"]:
            jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
