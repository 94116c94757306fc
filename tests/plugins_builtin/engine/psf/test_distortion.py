from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.psf.distortion import NAMES, distort, kernels_at, named, scaled_positions
from plugins_builtin.engine.psf.moffat import from_starred, moffat


def test_is_the_distortion_of_starred(calls_starred):
    from starred.psf.psf import apply_distortion

    rng = np.random.default_rng(0)
    kernel, coefficients = rng.uniform(size=(17, 17)), 0.2 * rng.normal(size=6)
    for position in rng.uniform(-0.5, 0.5, size=(4, 2)):
        reference = apply_distortion(kernel.astype(np.float32), named(coefficients), position)
        np.testing.assert_allclose(distort(kernel, coefficients, position), np.asarray(reference), atol=3e-4)


def test_keeps_sum_and_centre_and_does_nothing_at_the_centre():
    kernel = moffat(from_starred(3.0, 3.0, 0.0, 3.0), 41, 2)
    coefficients = np.array([0.3, 0.0, 0.1, -0.2, 0.05, 0.1])
    np.testing.assert_allclose(distort(kernel, coefficients, np.zeros(2)), kernel, atol=1e-13)
    moved = distort(kernel, coefficients, np.array([0.4, -0.3]))
    assert moved.sum() == pytest.approx(kernel.sum(), rel=1e-12)
    np.testing.assert_allclose(moved, moved[::-1, ::-1], atol=1e-12)


def test_kernels_at_positions():
    kernel = moffat(from_starred(3.0, 3.0, 0.0, 3.0), 40, 2)
    kernel /= kernel.sum()
    xy = np.array([[0.0, 0.0], [49.5, 99.5], [99.0, 199.0]])
    plain = kernels_at(kernel, {}, xy, (200, 100))
    np.testing.assert_array_equal(plain, np.stack([kernel] * 3))
    wide = kernels_at(kernel, named(np.array([0.4, 0, 0.4, 0, 0, 0])), xy, (200, 100))
    np.testing.assert_allclose(wide.sum(axis=(1, 2)), 1.0)
    np.testing.assert_allclose(wide[1], kernel, atol=1e-13)
    # Stretched towards positive x, squeezed towards negative x.
    assert wide[0].max() > kernel.max() > wide[2].max()
    assert set(named(np.zeros(6))) == set(NAMES)


def test_scaled_positions():
    scaled = scaled_positions(np.array([[0.0, 0.0], [99.0, 199.0], [49.5, 99.5]]), (200, 100))
    np.testing.assert_allclose(scaled, [[-0.495, -0.4975], [0.495, 0.4975], [0.0, 0.0]])
