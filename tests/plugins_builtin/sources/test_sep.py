from __future__ import annotations

import numpy as np
import pytest
from pupil_rings import ring

from lcframework.types import FWHM_PER_SIGMA, SOURCES
from plugins_builtin.engine.frames.moments import adaptive_moments
from plugins_builtin.sources import sep as sources_sep
from plugins_builtin.sources.sep import MASKED_CORE, TOO_SHARP, SepSources

PIXEL = np.sqrt(1 / 12)  # rms width of a pixel, which adds to that of what it samples


def draw(shape, x, y, flux, sigma, ratio=1.0, theta=0.0, beta=None):
    """Sources averaged over pixels (5 x 5 points each)."""
    sub = (np.arange(5) - 2) / 5
    image = np.zeros(shape)
    for xi, yi, fi in zip(x, y, flux, strict=True):
        x0, y0 = int(xi), int(yi)
        r = int(12 * max(sigma, 1)) + 3
        ys, xs = slice(max(y0 - r, 0), y0 + r), slice(max(x0 - r, 0), x0 + r)
        gy, gx = np.mgrid[ys.start : min(ys.stop, shape[0]), xs.start : min(xs.stop, shape[1])]
        dx = (gx - xi)[..., None, None] + sub
        dy = (gy - yi)[..., None, None] + sub[:, None]
        u = dx * np.cos(theta) + dy * np.sin(theta)
        v = -dx * np.sin(theta) + dy * np.cos(theta)
        r2 = (u / sigma) ** 2 + (v / (ratio * sigma)) ** 2
        if beta is None:
            values = np.exp(-0.5 * r2) / (2 * np.pi * ratio * sigma**2)
        else:
            alpha2 = (FWHM_PER_SIGMA / 2) ** 2 / (2 ** (1 / beta) - 1)
            values = (1 + r2 / alpha2) ** -beta * (beta - 1) / (np.pi * alpha2 * ratio * sigma**2)
        image[ys, xs] += fi * values.mean(axis=(2, 3))
    return image


def grid(rng, shape=(400, 400), step=40):
    y, x = (g.ravel() for g in np.mgrid[25 : shape[0] - 15 : step, 25 : shape[1] - 15 : step])
    return x + rng.uniform(-0.5, 0.5, x.size), y + rng.uniform(-0.5, 0.5, x.size)


def scene(fwhm, flux=3000.0, seed=0, rms=1.0, **shape):
    rng = np.random.default_rng(seed)
    x, y = grid(rng)
    fluxes = flux * 10 ** rng.uniform(0, 1, x.size)
    image = draw((400, 400), x, y, fluxes, fwhm / FWHM_PER_SIGMA, **shape)
    return (image + rng.normal(0, rms, image.shape)).astype(np.float32), x, y, fluxes


def extract(image, mask=None, rms=1.0, **options):
    mask = np.zeros(image.shape, bool) if mask is None else mask
    return SepSources(**options).extract(image, np.full(image.shape, rms**2, np.float32), mask)


def nearest(table, x, y):
    distance = np.hypot(np.asarray(table["x"])[:, None] - x, np.asarray(table["y"])[:, None] - y)
    return np.argmin(distance, axis=0), np.min(distance, axis=0)


@pytest.mark.parametrize("fwhm", [1.5, 2.5, 4.0, 7.0])
def test_finds_injected_stars_with_their_width_place_and_flux(fwhm):
    image, x, y, flux = scene(fwhm)
    table = extract(image, min_area=5)
    SOURCES.check(table, "sep")
    rows, distance = nearest(table, x, y)
    assert distance.max() < 0.25
    assert np.all(np.diff(table["flux"]) <= 0)
    found = table[rows]
    expected = np.hypot(fwhm, PIXEL * FWHM_PER_SIGMA)
    assert np.median(found["fwhm"]) == pytest.approx(expected, rel=0.05)
    # An aperture of 1.5 FWHM radius holds 99.8 % of a Gaussian.
    assert np.median(found["flux"] / flux) == pytest.approx(1.0, abs=0.03)
    # Centroid errors: sigma / signal-to-noise, with the noise of a matched aperture.
    snr = flux / np.sqrt(4 * np.pi * (expected / FWHM_PER_SIGMA) ** 2)
    limit = expected / FWHM_PER_SIGMA / snr
    pull = np.median(distance / np.hypot(limit, 0.01 if fwhm > 2 else 0.05))
    assert pull < 1.6


@pytest.mark.parametrize("beta", [2.5, 4.0])
def test_width_of_a_moffat_is_within_a_few_percent(beta):
    image, x, y, _ = scene(4.0, flux=2e4, beta=beta)
    table = extract(image)
    rows, _ = nearest(table, x, y)
    assert np.median(table["fwhm"][rows]) == pytest.approx(np.hypot(4.0, PIXEL * FWHM_PER_SIGMA), rel=0.05)


@pytest.mark.parametrize("theta", [0.0, 0.5, -1.2])
def test_shape_and_angle(theta):
    image, x, y, _ = scene(5.0, flux=2e4, ratio=0.7, theta=theta)
    table = extract(image)
    rows, _ = nearest(table, x, y)
    a, b = (np.hypot(5.0 / FWHM_PER_SIGMA * r, PIXEL) for r in (1.0, 0.7))
    assert np.median(table["a"][rows]) == pytest.approx(a, rel=0.03)
    assert np.median(table["b"][rows]) == pytest.approx(b, rel=0.03)
    angle = np.median(np.angle(np.exp(2j * (np.asarray(table["theta"][rows]) - theta)))) / 2
    assert abs(angle) < 0.03


def test_threshold_and_area_are_options():
    image, *_ = scene(2.5, flux=100.0)
    numbers = [len(extract(image, threshold=t, min_area=a)) for t, a in ((2, 5), (2, 20), (10, 5))]
    assert numbers[0] > numbers[1]
    assert numbers[0] > numbers[2]


def test_a_saturated_star_stays_one_source():
    image, *_ = scene(4.0, flux=2e4)
    bright = draw(image.shape, [205.3], [207.8], [3e6], 4.0 / FWHM_PER_SIGMA)
    image = np.minimum(image + bright, 20000).astype(np.float32)
    table = extract(image, mask=image >= 20000)
    rows, distance = nearest(table, np.array([205.3]), np.array([207.8]))
    assert distance[0] < 0.5
    assert rows[0] == 0
    assert table["flags"][0] & MASKED_CORE
    near = np.hypot(table["x"] - 205.3, table["y"] - 207.8) < 8
    assert near.sum() == 1


def test_hot_pixels_are_told_from_stars():
    image, x, y, _ = scene(3.0)
    image[100, 111] += 500
    table = extract(image, min_area=3)
    rows, distance = nearest(table, np.array([111.0]), np.array([100.0]))
    assert distance[0] < 0.1
    assert table["flags"][rows[0]] & TOO_SHARP
    stars, _ = nearest(table, x, y)
    assert not np.any(np.asarray(table["flags"])[stars] & TOO_SHARP)


def test_missing_pixels_and_an_empty_frame():
    rng = np.random.default_rng(4)
    image = rng.normal(0, 1, (100, 100)).astype(np.float32)
    image[10:20] = np.nan
    table = extract(image, threshold=5.0)
    assert len(table) == 0
    SOURCES.check(table, "sep")


def test_a_crowded_frame_does_not_exhaust_sep():
    rng = np.random.default_rng(2)
    image = rng.normal(0, 1, (700, 700)).astype(np.float32) + 50  # a sky left in: everything lies above the threshold
    assert len(extract(image)) >= 0


@pytest.mark.parametrize(
    "options", [{"threshold": 0.0}, {"min_area": 0}, {"deblend_contrast": 2.0}, {"aperture": -1.0}]
)
def test_refuses_senseless_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SepSources(**options)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 3.0])
def test_moments_of_noiseless_gaussians_are_exact(sigma):
    rng = np.random.default_rng(6)
    x, y = rng.uniform(20, 30, (2, 30))
    images = [draw((50, 50), [xi], [yi], [1.0], sigma, ratio=0.8, theta=0.4) for xi, yi in zip(x, y, strict=True)]
    results = [
        adaptive_moments(i, np.rint([xi]), np.rint([yi]), [1.0], 16) for i, xi, yi in zip(images, x, y, strict=True)
    ]
    assert all(r.converged[0] for r in results)
    a = np.array([r.a[0] for r in results])
    # Below a sigma of a pixel, the place of the source within its pixel shows.
    tolerance = 0.005 if sigma >= 1 else 0.15
    assert a == pytest.approx(np.hypot(sigma, PIXEL), rel=tolerance)
    assert np.median(a) == pytest.approx(np.hypot(sigma, PIXEL), rel=0.04)
    distance = np.hypot([r.x[0] for r in results] - x, [r.y[0] for r in results] - y)
    assert distance.max() < (0.006 if sigma >= 1 else 0.08)


def test_few_masked_pixels_are_bridged_as_many_are():
    rng = np.random.default_rng(8)
    image = rng.normal(5.0, 1.0, (90, 80))
    bad = rng.random(image.shape) < 0.01
    bad[40:60, 30:50] = True  # its middle is out of reach
    pixels = np.where(bad, 0.0, image)
    y, x = np.nonzero(bad)
    ways = (sources_sep._means, sources_sep._means_by_filtering)
    for few, many in zip(*(way(pixels, bad, y, x) for way in ways), strict=True):
        np.testing.assert_allclose(few, many, rtol=1e-10, atol=1e-12)
    bridged, unknown = sources_sep._bridge(image, bad)
    assert unknown[50, 40]
    assert not unknown[~bad].any()
    np.testing.assert_array_equal(bridged[~bad], image[~bad])
    assert np.abs(bridged[bad & ~unknown] - 5.0).max() < 3.0


def test_masked_pixels_near_a_source():
    from scipy.ndimage import distance_transform_edt

    rng = np.random.default_rng(9)
    bad = rng.random((60, 70)) < 0.02
    x, y = rng.uniform(-0.4, 69.4, 300), rng.uniform(-0.4, 59.4, 300)
    distance = distance_transform_edt(~bad)[np.rint(y).astype(int), np.rint(x).astype(int)]
    for radius in (1.0, 2.4, 3.7):
        np.testing.assert_array_equal(sources_sep._touches(bad, x, y, radius), distance <= radius)


@pytest.mark.parametrize(("outer", "inner"), [(6.0, 2.5), (9.0, 3.5), (12.0, 6.0)])
def test_stars_out_of_focus_are_whole(outer, inner):
    """Rings are one source each at their centre, faint ones too, and not the pieces of their rims."""
    rng = np.random.default_rng(3)
    x, y = grid(rng, (500, 500), 60)
    fluxes = 1e5 * 10 ** rng.uniform(0, 1, x.size)
    profile, (gy, gx) = ring(outer, inner), np.mgrid[:500, :500]
    image = rng.normal(0, 10.0, (500, 500))
    for xi, yi, flux in zip(x, y, fluxes, strict=True):
        part = np.s_[max(int(yi) - 35, 0) : int(yi) + 36, max(int(xi) - 35, 0) : int(xi) + 36]
        image[part] += rng.poisson(np.maximum(flux * profile(gx[part] - xi, gy[part] - yi), 0))
    table = SepSources().extract(image, np.maximum(image, 0) + 100.0, np.zeros(image.shape, bool))
    table = table[np.asarray(table["flags"]) & TOO_SHARP == 0]  # noise, and rays
    which, distance = nearest(table, x, y)
    assert len(table) == len(x)
    assert distance.max() < 0.5
    # The aperture is a disc of 1.5 FWHM, which holds the whole ring.
    ratio = np.asarray(table["flux"])[which] / fluxes
    assert abs(np.median(ratio) - 1) < 0.02
    assert ratio.std() < 0.03


@pytest.mark.parametrize("fwhm", [1.5, 3.0, 6.0, 10.0])
@pytest.mark.parametrize("beta", [None, 2.5])
def test_wide_stars_in_focus_are_not_smoothed(fwhm, beta, monkeypatch):
    widths = []
    real = sources_sep.smoothing_width
    monkeypatch.setattr(sources_sep, "smoothing_width", lambda *a: widths.append(real(*a)) or widths[-1])
    image, *_ = scene(fwhm, flux=3000.0 * fwhm**2, beta=beta)
    extract(image)
    assert widths == [0.0]
