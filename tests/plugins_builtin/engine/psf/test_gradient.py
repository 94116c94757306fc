from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.precision import double_precision
from plugins_builtin.engine.psf.gradient import half_chi2, penalty
from plugins_builtin.engine.psf.scaling import pixel_scaling
from plugins_builtin.engine.starlet import details
from plugins_builtin.engine.target import point_sources


@pytest.mark.parametrize(("n", "subsampling"), [(9, 2), (8, 3)])
def test_chi2_and_its_gradient(n, subsampling):
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(1)
    m, stars = n * subsampling, 3
    kernel, data = rng.normal(size=(m, m)), rng.normal(size=(stars, n, n))
    weight = rng.uniform(0, 2, size=(stars, n, n)) * (rng.uniform(size=(stars, n, n)) > 0.2)
    amplitude, x, y = rng.uniform(0.5, 2, size=stars), *rng.uniform(-1, 1, size=(2, stars))

    def plain(kernel, amplitude, x, y):
        images = amplitude[:, None, None] * point_sources(kernel, x, y, n, subsampling, 2.0, xp=jnp)
        return 0.5 * jnp.sum(weight * (data - images) ** 2)

    with double_precision():
        arguments = [jnp.asarray(part) for part in (kernel, amplitude, x, y)]
        run = jax.jit(lambda *a: half_chi2(*a, jnp.asarray(data), jnp.asarray(weight), subsampling, 2.0, jnp.float64))
        value, gradient = jax.tree.map(np.asarray, run(*arguments))
        expected = jax.tree.map(np.asarray, jax.jit(jax.grad(plain, (0, 1, 2, 3)))(*arguments))
        reference = float(plain(*arguments))
    assert value == pytest.approx(reference, rel=1e-13)
    for one, other in zip(gradient, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10 * abs(other).max())


@pytest.mark.parametrize("softness", [0.0, 0.1])
def test_penalty_and_its_gradient(softness):
    import jax.numpy as jnp

    rng = np.random.default_rng(2)
    image, weight = rng.normal(size=(12, 12)), rng.uniform(0.5, 2, size=(3, 12, 12))

    def plain(image):
        return (np.sqrt((weight * details(image)) ** 2 + softness**2) - softness).sum()

    with double_precision():
        value, slope = penalty(jnp.asarray(image), jnp.asarray(weight), softness, jnp.float64)
        value, slope = float(value), np.asarray(slope)
    assert value == pytest.approx(plain(image), rel=1e-12)
    for _ in range(5):
        direction = 1e-6 * rng.normal(size=image.shape)
        numeric = 0.5 * (plain(image + direction) - plain(image - direction))
        assert (slope * direction).sum() == pytest.approx(numeric, rel=1e-5)


def test_penalty_of_nothing_has_a_finite_gradient():
    import jax.numpy as jnp

    value, slope = penalty(jnp.zeros((8, 8)), jnp.ones((3, 8, 8)), 0.0, jnp.float32)
    assert float(value) == 0.0
    assert np.isfinite(np.asarray(slope)).all()


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_scaled_coordinates_go_both_ways(known):
    import jax.numpy as jnp

    rng = np.random.default_rng(3)
    with double_precision():
        weights = jnp.asarray(rng.uniform(0.5, 2, size=(4, 16, 16)))
        detail = jnp.asarray(known * rng.normal(size=weights.shape))
        scaling = pixel_scaling(weights, detail, jnp.asarray(rng.uniform(1, 2, size=(8, 8))), 2, 2.0)
        pixels, other = jnp.asarray(rng.normal(size=(2, 16, 16)))
        back = scaling.pixels(scaling.coordinates(pixels))
        np.testing.assert_allclose(np.asarray(back), np.asarray(pixels), atol=1e-10)
        # The gradient's map is the transpose of the pixels' map.
        one = float(jnp.sum(scaling.pixels(other) * pixels))
        assert one == pytest.approx(float(jnp.sum(other * scaling.gradient(pixels))), rel=1e-10)
