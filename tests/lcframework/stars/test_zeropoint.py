"""Zero points: recovered, with errors and a colour term that are true."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.stars.zeropoint import STARS_FOR_COLOUR, fit_zeropoint


def stars(rng, n, zeropoint=25.3, term=0.0, flux_error=0.003, mag_error=0.01, scatter=0.0, known=True):
    colour = rng.uniform(0.2, 2.2, n)
    flux = 10 ** rng.uniform(2, 4, n)
    mag = zeropoint - 2.5 * np.log10(flux) + term * colour + rng.normal(0, mag_error, n) + rng.normal(0, scatter, n)
    measured = flux * (1 + rng.normal(0, flux_error, n))
    return measured, flux * flux_error, mag, np.full(n, mag_error), colour if known else np.full(n, np.nan)


@pytest.mark.parametrize("scatter", [0.0, 0.05])
def test_error_is_true(scatter):
    rng = np.random.default_rng(0)
    fits = [fit_zeropoint(*stars(rng, 12, scatter=scatter, known=False)) for _ in range(400)]
    pulls = [(f.zeropoint - 25.3) / f.uncertainty for f in fits]
    assert abs(np.mean(pulls)) < 0.2
    assert 0.85 < np.std(pulls) < 1.25
    assert np.median([f.scatter for f in fits]) == pytest.approx(scatter, abs=0.012)


def test_error_is_true_where_one_star_is_known_far_better_than_it_scatters():
    rng = np.random.default_rng(4)
    pulls = []
    for _ in range(400):
        flux, flux_error, mag, mag_error, colour = stars(rng, 20, mag_error=0.02, scatter=0.03, known=False)
        flux_error[0], mag_error[0] = 1e-4 * flux[0], 1e-3
        mag[0] = 25.3 - 2.5 * np.log10(flux[0]) + rng.normal(0, 0.03)
        f = fit_zeropoint(flux, flux_error, mag, mag_error, colour)
        pulls.append((f.zeropoint - 25.3) / f.uncertainty)
    assert 0.85 < np.std(pulls) < 1.25


def test_colour_term():
    rng = np.random.default_rng(1)
    fits = [fit_zeropoint(*stars(rng, 20, term=0.12)) for _ in range(200)]
    pulls = [(f.colour_term - 0.12) / f.colour_term_uncertainty for f in fits]
    assert abs(np.mean(pulls)) < 0.25
    assert 0.8 < np.std(pulls) < 1.25
    f = fits[0]
    # The zero point holds at the reference colour.
    assert f.zeropoint == pytest.approx(25.3 + 0.12 * f.reference_colour, abs=5 * f.uncertainty)


def test_a_trend_with_brightness_and_its_error():
    rng = np.random.default_rng(3)
    fits = [fit_zeropoint(*stars(rng, 40, scatter=0.02)) for _ in range(300)]
    pulls = [f.trend / f.trend_uncertainty for f in fits]
    assert abs(np.mean(pulls)) < 0.2
    assert 0.85 < np.std(pulls) < 1.15
    flux, error, mag, mag_error, colour = stars(rng, 40)
    bent = flux * (1 - 0.2 * flux / 1e4)  # a camera that loses a fifth of the brightest stars
    f = fit_zeropoint(bent, error, mag, mag_error, colour)
    assert f.trend > 5 * f.trend_uncertainty
    instrumental = -2.5 * np.log10(flux)
    slope = np.polyfit(instrumental, 2.5 * np.log10(bent / flux), 1)[0]
    assert f.trend == pytest.approx(
        slope * np.ptp(np.quantile(instrumental, (0.05, 0.95))), abs=4 * f.trend_uncertainty
    )


def test_no_colour_term_where_colours_are_few_or_alike():
    rng = np.random.default_rng(2)
    flux, d, mag, e, colour = stars(rng, 20, term=0.1)
    colour[STARS_FOR_COLOUR - 1 :] = np.nan
    assert fit_zeropoint(flux, d, mag, e, colour).colour_term == 0
    assert fit_zeropoint(flux, d, mag, e, np.full(20, 0.7)).colour_term == 0


@pytest.mark.parametrize("off", [1.5, -1.5])
def test_outlier_is_left_out(off):
    rng = np.random.default_rng(3)
    flux, d, mag, e, colour = stars(rng, 20, known=False)
    mag[3] += off
    fit = fit_zeropoint(flux, d, mag, e, colour)
    assert fit.stars == 19
    assert abs(fit.zeropoint - 25.3) < 4 * fit.uncertainty


def test_scatter_of_few_stars():
    """Its square is that of the stars on average, of four degrees of freedom for five stars."""
    rng = np.random.default_rng(4)
    fits = [
        fit_zeropoint(*stars(rng, 5, scatter=0.1, flux_error=1e-4, mag_error=1e-3, known=False)) for _ in range(1500)
    ]
    relative = np.array([f.scatter for f in fits]) ** 2 / 0.1**2
    assert np.mean(relative) == pytest.approx(1.0, abs=4 * np.sqrt(2 / 4 / len(fits)))


def test_one_star_and_none():
    fit = fit_zeropoint(*(np.array([v]) for v in (100.0, 1.0, 20.0, 0.01, np.nan)))
    assert fit.zeropoint == pytest.approx(25.0)
    assert fit.uncertainty == pytest.approx(np.hypot(0.01, 2.5 / np.log(10) * 0.01), rel=1e-6)
    with pytest.raises(ValueError, match="no star"):
        fit_zeropoint(*(np.zeros(0) for _ in range(5)))
