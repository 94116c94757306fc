from __future__ import annotations

import attrs
import numpy as np
import pytest

from lcframework.testing.regions import Galaxy, Sky, simulate
from lcframework.types import UnusableInput
from plugins_builtin.roi_models.joint import Joint
from plugins_builtin.roi_models.starred import Starred

MODELS = {"joint": Joint, "starred": Starred}


@pytest.fixture(scope="module")
def refracted():
    """Airmass 1 to 2 on both sides of the meridian; the first source is bluer than the stars, the second redder."""
    rng = np.random.default_rng(3)
    distance = np.tan(np.arccos(1 / np.linspace(1.0, 2.0, 8)))
    angle = np.where(np.arange(8) % 2, 1.1, -1.0)
    sky = Sky(
        sources=np.array([[0.45, 0.3], [-0.4, -0.3]]),
        flux=np.array([1500.0, 1000.0]) * rng.uniform(0.8, 1.2, (8, 2)),
        galaxies=(Galaxy(500.0, xi=0.05, eta=-0.03, radius=0.6, index=2.5),),
        seeing=rng.uniform(0.7, 1.1, 8),
        stamp=20,
        kernel=28,
        rotation=0.02,
        zenith=distance[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1),
        refraction=np.array([0.06, -0.04]),
    )
    return simulate(sky, 1)


@pytest.mark.parametrize("name", ["joint", pytest.param("starred", marks=pytest.mark.slow)])
def test_refraction_that_is_modelled_biases_neither_positions_nor_fluxes(name, refracted):
    cutouts, sources, truth = refracted
    more = {"point_sources": "exact"} if name == "starred" else {}
    fits = {on: MODELS[name](differential_refraction=on, **more).fit(cutouts, sources) for on in (False, True)}
    mean = cutouts.zenith.mean(axis=0)
    places = truth.offset + np.outer([0.06, -0.04], mean)  # positions are those of the mean refraction
    pulls, chi2 = {}, {}
    for on, fit in fits.items():
        error = np.hypot(*(np.sqrt(np.einsum("ekk->ek", c)) for c in (fit.covariance, fit.common_covariance)))
        pulls[on] = np.abs(fit.flux - truth.flux) / error
        chi2[on] = float(np.nansum(fit.reduced_chi2))
    assert pulls[True].max() < 4.5
    position_error = np.sqrt(np.diag(fits[True].offset_covariance)).reshape(-1, 2)
    assert np.all(np.abs(fits[True].offset - places) < 4.5 * position_error)
    # Left out, it shows: sources that drift apart spoil the fit, or the fluxes.
    assert chi2[False] > chi2[True] + 0.5 or pulls[False].max() > 6


@pytest.mark.parametrize("name", MODELS)
def test_refraction_needs_to_know_where_the_zenith_is(name, refracted):
    cutouts, sources, _ = refracted
    unknown = attrs.evolve(cutouts, zenith=np.full((8, 2), np.nan))
    with pytest.raises(UnusableInput, match=r"unknown in 8 of 8 epochs; give \[telescope\]"):
        MODELS[name](differential_refraction=True).fit(unknown, sources)
