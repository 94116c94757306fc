from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from plugins_builtin.engine.precision import double_precision
from plugins_builtin.engine.psf.model import Frame, Model, Setting, fit_moffat, fit_pixels
from plugins_builtin.engine.starlet import number_of_scales

FRAMES, STARS, N = 2, 4, 8


@pytest.mark.parametrize(("subsampling", "distorted"), [(2, True), (3, False)])
def test_steps_keep_types_and_shapes(subsampling, distorted):
    """Also where JAX promotes nothing by itself, as in these tests; traced, but not compiled."""
    import jax

    setting, m = Setting(subsampling, 2.0, distorted), N * subsampling
    single = partial(np.ones, dtype=np.float32)
    stamps = single((FRAMES, STARS, N, N))
    frame = Frame(stamps, stamps, single((FRAMES, STARS, 2)), single((FRAMES, number_of_scales(m), m, m)))
    places = single((FRAMES, STARS))
    model = Model(single((FRAMES, 4)), single((FRAMES, m, m)), places, places, places, single((FRAMES, 6)))
    bound = np.ones(FRAMES, np.int32)
    with double_precision():
        analytic = jax.eval_shape(jax.vmap(partial(fit_moffat, setting=setting)), model, frame, bound, np.ones(FRAMES))
        pixels = jax.eval_shape(
            jax.vmap(partial(fit_pixels, setting=setting)),
            model, frame, single((FRAMES, 3)), np.ones((FRAMES, 3)), bound, bound,
        )  # fmt: skip
    for result in (analytic, pixels):
        for one, other in zip(result.model, model, strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert result.value.dtype == np.float64
