from __future__ import annotations

import numpy as np
import pytest

from lcframework.injections.drawing_psf import StarImage, fit_drawing_psf, measure

FRAME = (300, 400)
RMS = 0.05


def gaussian_pair(x: float, y: float, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A profile that no Moffat is: two elliptical Gaussians whose width grows along x; the sum over pixels is 1."""
    widths = (1.6 + 0.3 * (x / FRAME[1] - 0.5), 1.8)
    out = np.zeros(np.broadcast(columns, rows).shape)
    for share, scale in ((0.8, 1.0), (0.2, 1.9)):
        sx, sy = widths[0] * scale, widths[1] * scale
        out += share * np.exp(-0.5 * (((columns - x) / sx) ** 2 + ((rows - y) / sy) ** 2)) / (2 * np.pi * sx * sy)
    return out


def star(x: float, y: float, flux: float, rng: np.random.Generator) -> StarImage:
    half = 16
    i, j = round(x), round(y)
    rows, columns = np.mgrid[j - half : j + half + 1, i - half : i + half + 1].astype(float)
    light = flux * gaussian_pair(x, y, columns, rows)
    variance = RMS**2 + light / 100.0
    data = light + 0.3 + rng.normal(size=light.shape) * np.sqrt(variance)  # on a level of 0.3
    return StarImage(data, variance, np.ones(light.shape, bool), (i - half, j - half), (x + 0.3, y - 0.2))


@pytest.fixture(scope="module")
def psf_and_stars() -> tuple:
    rng = np.random.default_rng(3)
    places = rng.uniform((30, 30), (FRAME[1] - 30, FRAME[0] - 30), (14, 2))
    stars = [star(x, y, flux, rng) for (x, y), flux in zip(places, np.geomspace(400, 4000, 14), strict=True)]
    return fit_drawing_psf(stars, FRAME, 4.0), places, stars


def test_shape_at_places_between_the_stars(psf_and_stars: tuple) -> None:
    psf, _, _ = psf_and_stars
    for x, y in ((60.37, 200.81), (200.12, 150.5), (350.64, 60.08)):
        rows, columns = np.mgrid[round(y) - 12 : round(y) + 13, round(x) - 12 : round(x) + 13].astype(float)
        true = gaussian_pair(x, y, columns, rows)
        drawn = psf.at(x, y, columns, rows)
        best = (drawn * true).sum() / (drawn**2).sum()
        assert np.abs(best * drawn - true).max() < 0.02 * true.max()
        # What a fit by the true shape makes of what is drawn: the part of the flux that a wrong shape would cost.
        assert abs((drawn * true).sum() / (true**2).sum() * best - 1) < 0.003


def test_fluxes_and_places_of_stars(psf_and_stars: tuple) -> None:
    psf, places, stars = psf_and_stars
    fits = [measure(psf, image) for image in stars]
    found = np.array([(f.x, f.y) for f in fits])
    np.testing.assert_allclose(found, places, atol=0.05)
    ratio = np.array([f.flux for f in fits]) / np.geomspace(400, 4000, 14)
    assert np.std(ratio / ratio.mean()) < 0.006


def test_too_few_stars_show_no_psf() -> None:
    assert fit_drawing_psf([star(100.0, 100.0, 500.0, np.random.default_rng(1))], FRAME, 4.0) is None
