from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from plugins_builtin.engine.precision import double_precision
from plugins_builtin.engine.psf.model import Frame, Model, Setting, _scales, fit_moffat, fit_pixels
from plugins_builtin.engine.psf.moffat import from_starred, moffat
from plugins_builtin.engine.starlet import number_of_scales
from plugins_builtin.engine.target import point_sources

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


def test_steps_of_the_search_change_the_objective_by_as_much_each():
    """By a half, for data that are the model: amplitudes and positions of bright and faint stars are fitted alike."""
    import jax

    setting, stars = Setting(2, 2.0, False), 3
    amplitude, x, y = np.array([3e3, 3e4, 1e6]), np.array([0.2, -0.4, 0.1]), np.array([0.3, 0.0, -0.2])
    kernel = moffat(from_starred(3.0, 3.0, 0.0, 3.0), 24, 2)
    with double_precision():
        images = point_sources(kernel, x, y, 12, 2, 2.0)
        iv = 1 / (400.0 + amplitude[:, None, None] * images)
        model = Model(from_starred(3.0, 3.0, 0.0, 3.0), np.zeros((24, 24)), amplitude, x, y, np.zeros(6))
        frame = Frame(amplitude[:, None, None] * images, iv, np.zeros((3, 2)), np.ones((1, 24, 24)))
        scale = np.asarray(jax.jit(partial(_scales, setting=setting))(model, frame)).reshape(3, stars)
    for which in range(3):
        for star in range(stars):
            moved = [v.copy() for v in (amplitude, x, y)]
            moved[which][star] += scale[which, star]
            change = moved[0][:, None, None] * point_sources(kernel, moved[1], moved[2], 12, 2, 2.0)
            change = change - amplitude[:, None, None] * images
            # Steps along y are taken to be those along x, from which a star's place in its pixel lets them differ.
            assert 0.5 * (iv * change**2).sum() == pytest.approx(0.5, rel=0.02 if which < 2 else 0.1)
