"""Batches sized by a device's free memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import attrs
import numpy as np
import pytest

from lcframework.types import NeedMissing
from plugins_builtin.engine import device
from plugins_builtin.engine.device import MemoryNeed
from plugins_builtin.engine.precision import double_precision
from plugins_builtin.engine.psf.memory import memory_of_fit
from plugins_builtin.psf_models.starred import Starred


def gpu(free: float) -> SimpleNamespace:
    stats = {"bytes_limit": 8 * 2**30, "bytes_in_use": int(8 * 2**30 - free)}
    return SimpleNamespace(platform="gpu", device_kind="Card", memory_stats=lambda: stats)


@pytest.mark.parametrize(("free", "frames"), [(8 * 2**30, 256), (200 * 2**20, 64), (2**20, 4)])
def test_free_memory_of_an_accelerator_sizes_the_batch(monkeypatch, free, frames):
    import jax

    monkeypatch.setattr(jax, "devices", lambda: [gpu(free)])
    found = device.forecast(memory_of_fit(10, 24, 2))
    assert found.units == frames
    assert found.free == free
    assert frames == 4 or found.units * found.bytes_per_unit <= 0.5 * free
    assert f"{frames} frames in a batch" in str(found)
    assert "MiB per frame" in str(found)


def test_any_fit_names_what_it_takes(monkeypatch):
    import jax

    monkeypatch.setattr(jax, "devices", lambda: [gpu(2**30)])
    star = MemoryNeed("star photometry", "star", on_accelerator=2**20, on_host=2**16)
    found = device.forecast(star)
    assert found.units == 256
    assert str(found) == "Card: 1.0 GiB free, 1.00 MiB per star, 256 stars in a batch"
    found = device.forecast(attrs.evolve(star, fixed=400 * 2**20))
    assert found.units == 64
    assert str(found) == "Card: 1.0 GiB free, 400.00 MiB fixed, 1.00 MiB per star, 64 stars in a batch"
    # The smallest batch is tried where nothing seems to fit: the memory may suffice after all.
    assert device.forecast(attrs.evolve(star, fixed=2**31)).units == device.LANES[0]


def test_a_processor_gets_batches_that_its_memory_holds(monkeypatch):
    assert device.forecast(memory_of_fit(10, 24, 2)).units == device.HOST_UNITS
    monkeypatch.setattr(device, "_host_memory", lambda: 10 * 2**20)
    assert device.forecast(memory_of_fit(30, 64, 2)).units == 1 < device.forecast(memory_of_fit(6, 16, 2)).units
    epoch = MemoryNeed("region fit", "epoch", on_accelerator=1, on_host=2**20, fixed=2**20)
    assert str(device.forecast(epoch)) == "CPU: 0.0 GiB free, 1.00 MiB fixed, 1.00 MiB per epoch, 4 epochs in a batch"
    assert device.forecast(attrs.evolve(epoch, fixed=2**30)).units == 1


def test_a_device_that_is_not_there_is_a_missing_need(monkeypatch):
    import jax

    def fail():
        raise RuntimeError("no CUDA")

    monkeypatch.setattr(jax, "devices", fail)
    with pytest.raises(NeedMissing, match=r"no CUDA.*device to auto or cpu"):
        Starred().frames_at_once(10, 24)


def test_batches_shrink_where_the_memory_does_not_suffice():
    import jax

    sizes = []

    def function(values):
        sizes.append(len(values))
        if len(values) > 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return 2 * values

    answers = device.run_in_batches([(np.float32(i),) for i in range(10)], function, 64)
    assert answers == [2.0 * i for i in range(10)]
    assert sizes == [16, 4, 4, 4]
    with pytest.raises(jax.errors.JaxRuntimeError, match="else"):
        device.run_in_batches(
            [(np.float32(1),)], lambda _: (_ for _ in ()).throw(jax.errors.JaxRuntimeError("else")), 4
        )


@pytest.mark.slow
@pytest.mark.parametrize(("stars", "size", "subsampling"), [(10, 24, 2), (6, 16, 3)])
def test_the_estimate_is_what_the_compiler_says(stars, size, subsampling):
    import jax

    from plugins_builtin.engine.psf.model import Frame, Model, Setting, compiled
    from plugins_builtin.engine.starlet import number_of_scales

    m, frames = size * subsampling, 4
    of = lambda *shape: jax.ShapeDtypeStruct((frames, *shape), np.float32)  # noqa: E731
    model = Model(of(4), of(m, m), of(stars), of(stars), of(stars), of(6))
    images = of(stars, size, size)
    frame = Frame(images, images, of(stars, 2), of(number_of_scales(m), m, m))
    with double_precision():
        course = jax.ShapeDtypeStruct((frames, 3), np.float64)
        count = jax.ShapeDtypeStruct((frames,), np.int32)
        pixels = compiled(Setting(subsampling, 2.0, False), True)[1]
        memory = pixels.lower(model, frame, of(3), course, count, count).compile().memory_analysis()
    taken = (memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes) / frames
    assert 0.5 < memory_of_fit(stars, size, subsampling).on_accelerator / taken < 2.0


_FIT = """
import json, jax
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
from lcframework.executors.device import prepare_device
prepare_device("cpu")
from lcframework.testing.psf_scenes import simulate_stars
from plugins_builtin.psf_models.starred import Starred
(psf,) = Starred(iterations_pixels=20).fit(simulate_stars(1, 4, 12, seed=1).batch)
print(json.dumps([hits.count("/jax/compilation_cache/cache_hits"), hits.count("/jax/compilation_cache/cache_misses")]))
"""


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path):
    """Also where the caller had imported JAX before."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {"XDG_CACHE_HOME": str(tmp_path)}
    counts = []
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", _FIT], env=environment, capture_output=True, text=True, check=True)
        counts.append(json.loads(run.stdout.splitlines()[-1]))
    (hits, misses), (later_hits, later_misses) = counts
    assert hits == 0 < misses
    assert later_hits == misses
    assert later_misses == 0
