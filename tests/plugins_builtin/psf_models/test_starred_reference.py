from __future__ import annotations

import attrs
import numpy as np
import pytest

from lcframework.testing.psf_scenes import simulate_stars
from lcframework.types import FitState
from plugins_builtin.engine.target import point_sources
from plugins_builtin.psf_models.starred import Starred
from plugins_builtin.psf_models.starred_reference import StarredReference, lcf_psf_models


def test_frame_without_stars_fails_and_says_why():
    batch = simulate_stars(1, 3, 12, seed=1).batch
    (psf,) = StarredReference().fit(attrs.evolve(batch, mask=np.ones_like(batch.mask)))
    assert psf.status.state is FitState.FAILED
    assert psf.status.reason == "no usable star"
    assert lcf_psf_models() == {"starred-reference": StarredReference}


def test_what_starred_raises_fails_one_frame(monkeypatch):
    from starred.procedures import psf_routines

    def broken(*arguments, **options):
        raise RuntimeError("no memory")

    monkeypatch.setattr(psf_routines, "build_psf", broken)
    (psf,) = StarredReference().fit(simulate_stars(1, 3, 12, seed=1).batch)
    assert psf.status.state is FitState.FAILED
    assert psf.status.reason == "STARRED failed: RuntimeError: no memory"


@pytest.mark.slow
def test_speaks_the_same_terms_as_the_solver():
    """Amplitudes, positions and residuals are those that its own PSF gives, and near those of the built-in solver."""
    scene = simulate_stars(1, 5, 16, seed=4, fwhm=(3.0, 4.0))
    batch = scene.batch
    batch.mask[0, 1, 3, 3] = True
    (psf,) = StarredReference(iterations_pixels=500).fit(batch)
    (ours,) = Starred().fit(batch)
    images = point_sources(psf.narrow, psf.offset[:, 0], psf.offset[:, 1], 16, 2, psf.target_fwhm)
    model = psf.amplitude[:, None, None] * images
    np.testing.assert_allclose(batch.data[0] - model, psf.residuals, atol=2e-3)
    error = 1 / np.sqrt((images**2 / batch.noise[0] ** 2).sum(axis=(1, 2)))
    ratio, unit = psf.amplitude / ours.amplitude, ours.amplitude / error
    common = (ratio * unit**2).sum() / (unit**2).sum()
    # Both see the same noise, so they agree better than that.
    assert (abs(ratio - common) * unit).max() < 1
    assert common == pytest.approx(1.0, abs=0.01)
    assert psf.reduced_chi2 == pytest.approx(ours.reduced_chi2, abs=0.05)
