from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.psf.moffat import from_starred, moffat, to_starred


@pytest.mark.parametrize(
    "parameters", [(3.0, 3.0, 0.0, 2.0), (4.0, 2.5, 0.6, 3.3), (2.5, 4.0, 1.4, 1.6), (3.1, 2.9, 0.9, 4.0)]
)
def test_is_the_moffat_of_starred(parameters, calls_starred):
    from starred.psf.psf import PSF

    model = PSF(20, 1, 2, convolution_method="fft", elliptical_moffat=True)
    names = ("fwhm_x", "fwhm_y", "phi", "beta")
    reference = np.asarray(model.get_moffat({**dict(zip(names, parameters, strict=True)), "C": 1.0}, norm=False))
    shape = from_starred(*parameters)
    np.testing.assert_allclose(moffat(shape, 40, 2), reference, rtol=2e-5)
    back = to_starred(shape)
    assert 0 <= back["phi"] <= np.pi / 2
    np.testing.assert_allclose(moffat(from_starred(**back), 40, 2), moffat(shape, 40, 2), rtol=1e-12)


def test_width_is_the_fwhm():
    for fwhm, subsampling in ((3.0, 10), (2.5, 12), (4.0, 9)):
        m = 2 * round(4 * fwhm * subsampling) + 1
        profile = moffat(from_starred(fwhm, fwhm, 0.0, 2.7), m, subsampling)[m // 2]
        assert profile[m // 2] == 1.0
        distance = np.arange(m // 2 + 1) / subsampling
        half = np.interp(-0.5, -profile[m // 2 :], distance)
        assert 2 * half == pytest.approx(fwhm, rel=0.003)


def test_derivative_at_the_circle_is_finite():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    slope = jax.jacfwd(lambda shape: moffat(shape, 10, 2, xp=jnp))(jnp.array([1.0, 0.0, 0.0, 0.7]))
    assert np.isfinite(np.asarray(slope)).all()
    step = 1e-5
    shape = np.array([1.0, 0.0, 0.0, 0.7])
    for k in range(4):
        bump = step * np.eye(4)[k]
        numeric = (moffat(shape + bump, 10, 2) - moffat(shape - bump, 10, 2)) / (2 * step)
        np.testing.assert_allclose(np.asarray(slope)[..., k], numeric, atol=1e-6)
