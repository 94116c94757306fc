"""The scatter of residual / flux beyond the noise, against what was put in, and what it is for."""

import attrs
import numpy as np

from lcframework.testing.psf_scenes import StarShape
from lcframework.types import Kernels, Stamps
from plugins_builtin.engine.misfit import EDGES, distances, in_rings, misfit_at, misfit_of_stamps, relative_misfit
from plugins_builtin.photometry.starred import StarredPhotometry
from plugins_builtin.psf_models.starred import Starred


def test_what_was_put_in_is_found():
    """Stars whose pixels within one FWHM deviate by 3 % of the flux beyond their noise, and by nothing outside."""
    rng = np.random.default_rng(1)
    stars, n, fwhm = 60, 16, 3.0
    flux = np.geomspace(10.0, 1000.0, stars)
    x, y = rng.uniform(-0.5, 0.5, (2, stars))
    distance = distances(x, y, n, fwhm)
    noise = 2.0
    truth = np.where(distance < 1.0, 0.03, 0.0)
    residual = rng.normal(size=distance.shape) * np.hypot(noise, flux[:, None, None] * truth)
    found = relative_misfit(residual, np.full(distance.shape, noise**-2), flux, distance)
    inside = EDGES[1:] <= 1.0
    # The median of some 20 stars' 2 to 12 pixels a bin.
    np.testing.assert_allclose(found[inside], 0.03, rtol=0.5)
    np.testing.assert_allclose(found[inside].mean(), 0.03, rtol=0.15)
    assert np.all(found[~inside] < 0.003)
    assert misfit_at(found, np.array([0.1, 99.0]))[1] == 0.0


def test_rings_are_those_of_the_bins():
    misfit = np.linspace(0.09, 0.01, len(EDGES) - 1)
    rings = in_rings(misfit, 2.0, 20)
    assert len(rings) == 12
    pixels = misfit_of_stamps(rings[None], np.array([[0.5, 0.5]]), (20, 20))[0]
    assert pixels[10, 10] == misfit[0]
    assert pixels[10, 14] == misfit_at(misfit, np.array(4.25 / 2.0))
    assert pixels[0, 0] == 0.0
    assert misfit_of_stamps(np.zeros((1, 0)), np.zeros((1, 2)), (4, 4)).max() == 0.0


def test_misfit_spares_cores_and_cosmic_rays_in_them_are_found():
    """A core that is off by 4 % of the flux is kept with the misfit, not without; a ray of half the flux is found."""
    shape = StarShape(2.0, 3.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    n, flux = 16, 1e5
    star = flux * shape.image(n, 0.0, 0.0)
    noise = np.sqrt(25.0 + star / 60.0)
    rng = np.random.default_rng(2)
    sharp = StarShape(2.0, 3.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    data = np.stack([star, star]) + noise * rng.normal(size=(2, n, n))
    data[:, 8, 6] += 0.04 * flux
    data[1, 7, 8] += 0.5 * flux
    kernel = sharp.image(2 * n, 0.0, 0.0)
    kernels = Kernels(np.stack([kernel, kernel]), 1, 0.0)
    # A full PSF on the data's pixels: the kernel of 2 n pixels reaches beyond the stamp.
    stamps = Stamps(data, np.stack([noise, noise]), np.zeros(data.shape, bool), np.zeros((2, 2)))
    plain = StarredPhotometry().measure(stamps, kernels)
    spared = StarredPhotometry().measure(stamps, attrs.evolve(kernels, misfit=np.full((2, 8), 0.02)))
    assert plain.outliers[0, 8, 6]
    assert not spared.outliers[0].any()
    assert spared.outliers[1, 7, 8]
    np.testing.assert_allclose(spared.flux[1] / flux, 1.0, atol=0.05)


def test_the_psf_says_how_far_its_stars_are_from_it():
    from lcframework.testing.psf_scenes import FieldOptics, simulate_field

    # Of 30 stars the ten brightest tell, which have pixels enough in all of the innermost rings.
    constant, varying = (
        Starred(variation=0).fit(simulate_field(o, 1, 30, size=16, seed=5, flux=(2e4, 6e4)).batch)[0].misfit.max()
        for o in (FieldOptics(1.5), FieldOptics(1.5, coma=0.8, corners=0.3))
    )
    assert constant < 0.001
    assert varying > 0.004
