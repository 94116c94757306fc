from __future__ import annotations

import attrs
import numpy as np
import pytest
from small_sky import small_sky as any_small_sky

from lcframework.testing.regions import Galaxy, Sky, quad, simulate
from lcframework.types import Cutouts, FitState, PointSources, RoiFit, UnusableInput
from plugins_builtin.roi_models.joint import Joint


def errors(covariance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ekk->ek", covariance))


def small_sky(epochs: int = 4, **changes: object) -> Sky:
    return any_small_sky(epochs, **({"stamp": 20, "kernel": 28} | changes))


def assert_recovers(fit: RoiFit, flux: np.ndarray, sigmas: float = 4.5) -> None:
    """Each flux within its random and common errors, which here act together."""
    total = np.sqrt(errors(fit.covariance) ** 2 + errors(fit.common_covariance) ** 2)
    assert np.all(np.abs(fit.flux - flux) < sigmas * total)


def assert_covariances_are_positive(fit: RoiFit) -> None:
    for covariance in (fit.covariance, fit.common_covariance):
        np.testing.assert_allclose(covariance, covariance.swapaxes(1, 2), rtol=1e-6)
        assert np.all(np.linalg.eigvalsh(covariance) > -1e-9 * np.abs(covariance).max())
    assert np.all(np.linalg.eigvalsh(fit.covariance) > 0)
    assert np.all(np.linalg.eigvalsh(fit.offset_covariance) > 0)


@pytest.fixture(scope="module")
def fitted() -> tuple[Cutouts, PointSources, object, RoiFit]:
    cutouts, sources, truth = simulate(small_sky(), 1)
    return cutouts, sources, truth, Joint().fit(cutouts, sources)


def test_recovers_blended_sources_on_a_galaxy_in_rotated_and_dithered_epochs(fitted):
    _, _, truth, fit = fitted
    assert fit.status.state is FitState.CONVERGED, fit.status
    assert_recovers(fit, truth.flux)
    assert_covariances_are_positive(fit)
    position_error = np.sqrt(np.diag(fit.offset_covariance)).reshape(-1, 2)
    assert np.all(np.abs(fit.offset - truth.offset) < 4.5 * position_error)
    # The model is the noiseless image to within what the noise lets it be known.
    z = (fit.model - truth.noiseless) / np.sqrt(truth.variance)
    assert (z**2).mean() < 0.2
    assert np.all(np.abs(fit.reduced_chi2 - 1) < 5 * np.sqrt(2 / 400))
    assert fit.outliers.sum() < 4
    assert len(fit.loss_history) > 1


def test_noiseless_data_give_the_truth():
    cutouts, sources, truth = simulate(small_sky(3, exptime=3000.0, sky_rms=0.1), 5, noise=False)
    fit = Joint().fit(cutouts, sources)
    np.testing.assert_allclose(fit.flux, truth.flux, rtol=4e-3)
    assert np.abs(fit.offset - truth.offset).max() < 2e-3


def test_random_errors_are_those_of_a_fisher_matrix_by_finite_differences(fitted):
    """An independent rendering, differentiated numerically; everything shared held at its fitted value."""
    from lcframework.testing.regions import render_point

    cutouts, _, truth, fit = fitted
    sky = small_sky()
    for e in (0, 2):
        kernel = cutouts.kernels.values[e]
        transform = cutouts.transform[e].copy()
        transform[:, 2] += fit.translation[e]

        def image(p: np.ndarray, transform=transform, kernel=kernel, e=e) -> np.ndarray:
            shift = p[3:5]
            xy = [transform[:, :2] @ c + transform[:, 2] + shift for c in fit.offset]
            # The galaxy follows the shift by its own slope.
            slope_y, slope_x = np.gradient(truth.galaxy[e])
            galaxy = p[5] * (truth.galaxy[e] - shift[0] * slope_x - shift[1] * slope_y)
            return p[0] * render_point(sky, xy[0], kernel) + p[1] * render_point(sky, xy[1], kernel) + p[2] + galaxy

        p0 = np.array([*fit.flux[e], 0.0, 0.0, 0.0, 1.0])
        steps = [1.0, 1.0, 0.1, 1e-3, 1e-3, 1e-2]
        columns = []
        for j, h in enumerate(steps):
            d = np.zeros(6)
            d[j] = h
            columns.append(((image(p0 + d) - image(p0 - d)) / (2 * h)).ravel())
        design = np.array(columns) / np.sqrt(truth.variance[e]).ravel()
        fisher = design @ design.T
        # The floor of the registration is fitted: 0.01 px where the epochs do not tell otherwise.
        low, high = fisher.copy(), fisher.copy()
        for matrix, sigma in ((low, 0.05), (high, 0.002)):
            matrix[[3, 4], [3, 4]] += 1 / sigma**2
            matrix[5, 5] += 1 / 1e-3**2
        widest, tightest = np.linalg.inv(low)[:2, :2], np.linalg.inv(high)[:2, :2]
        stated = fit.covariance[e]
        assert np.all(np.diag(stated) > 0.95 * np.diag(tightest))
        assert np.all(np.diag(stated) < 1.05 * np.diag(widest))
        assert np.sign(stated[0, 1]) == np.sign(tightest[0, 1])


def test_a_cosmic_ray_is_clipped_and_spoils_nothing(fitted):
    cutouts, sources, truth, clean = fitted
    data, noise = cutouts.data.copy(), cutouts.noise.copy()
    data[1, 8, 9:12] += 60.0
    noise[1, 8, 9:12] = np.sqrt(0.25**2 + data[1, 8, 9:12] / 300)
    fit = Joint().fit(attrs.evolve(cutouts, data=data, noise=noise), sources)
    assert fit.outliers[1, 8, 9:12].all()
    assert fit.outliers.sum() < 8
    assert_recovers(fit, truth.flux)
    unclipped = Joint(clip=0.0).fit(attrs.evolve(cutouts, data=data, noise=noise), sources)
    assert not unclipped.outliers.any()
    shift = np.abs(unclipped.flux[1] - clean.flux[1]) / errors(clean.covariance)[1]
    assert shift.max() > 5


def test_a_masked_pixel_influences_only_itself(fitted):
    cutouts, sources, _, clean = fitted
    mask, data = cutouts.mask.copy(), cutouts.data.copy()
    mask[2, 3, 4] = True
    data[2, 3, 4] = np.nan
    fit = Joint().fit(attrs.evolve(cutouts, mask=mask, data=data), sources)
    error = errors(clean.covariance)
    assert np.all(np.abs(fit.flux - clean.flux) < 0.5 * error)
    np.testing.assert_allclose(errors(fit.covariance), error, rtol=0.03)


def test_an_epoch_entirely_masked_has_no_flux_and_breaks_no_other(fitted):
    cutouts, sources, truth, _ = fitted
    mask = cutouts.mask.copy()
    mask[1] = True
    fit = Joint().fit(attrs.evolve(cutouts, mask=mask), sources)
    assert np.isnan(fit.flux[1]).all()
    assert np.isnan(fit.covariance[1]).all()
    assert np.isnan(fit.reduced_chi2[1])
    others = [0, 2, 3]
    total = np.sqrt(errors(fit.covariance) ** 2 + errors(fit.common_covariance) ** 2)
    assert np.all(np.abs(fit.flux - truth.flux)[others] < 4.5 * total[others])


def test_a_source_whose_core_is_masked_has_no_flux_in_that_epoch_alone(fitted):
    cutouts, sources, _, _ = fitted
    x, y = cutouts.transform[0, :, :2] @ sources.offset[0] + cutouts.transform[0, :, 2]
    yy, xx = np.mgrid[:20, :20]
    mask = cutouts.mask.copy()
    mask[0] |= np.hypot(xx - x, yy - y) < 6.5
    fit = Joint().fit(attrs.evolve(cutouts, mask=mask), sources)
    assert np.isnan(fit.flux[0, 0])
    assert np.isfinite(fit.flux[1:]).all()


def test_one_star_without_a_galaxy():
    flux = np.array([[1500.0], [1400.0], [1600.0]])
    sky = small_sky(3, sources=np.array([[0.1, 0.2]]), flux=flux, galaxies=())
    cutouts, sources, truth = simulate(sky, 2)
    for model in (Joint(background=False), Joint()):
        fit = model.fit(cutouts, sources)
        assert fit.status.state is FitState.CONVERGED
        assert_recovers(fit, truth.flux)
        np.testing.assert_allclose(fit.high_resolution.background, 0.0)
    assert "no galaxy stands out" in fit.status.reason


def test_one_epoch():
    sky = small_sky(1)
    cutouts, sources, truth = simulate(sky, 4)
    fit = Joint().fit(cutouts, sources)
    assert fit.status.usable
    assert_recovers(fit, truth.flux)


@pytest.mark.slow
def test_a_galaxy_off_centre_and_a_second_one():
    galaxies = (
        Galaxy(700.0, xi=1.0, eta=0.9, radius=0.5, index=2.0),
        Galaxy(500.0, xi=-1.0, eta=-0.8, radius=0.4, index=1.5),
    )
    sky = small_sky(3, sources=np.array([[0.5, -0.5]]), flux=np.array([[700.0], [800.0], [750.0]]))
    one = attrs.evolve(sky, galaxies=galaxies[:1])
    cutouts, sources, truth = simulate(one, 6)
    assert_recovers(Joint().fit(cutouts, sources), truth.flux)
    two = attrs.evolve(sky, galaxies=galaxies)
    cutouts, sources, truth = simulate(two, 6)
    assert_recovers(Joint(galaxies=2).fit(cutouts, sources), truth.flux)
    told = Joint(galaxy_positions=[[1.0, 0.9], [-1.0, -0.8]]).fit(cutouts, sources)
    assert_recovers(told, truth.flux)


def test_a_registration_that_is_off_is_found_out():
    sky = small_sky(6, hidden_shift=0.15, seeing=np.full(6, 0.9), flux=np.tile([900.0, 600.0], (6, 1)))
    cutouts, sources, truth = simulate(sky, 7)
    fit = Joint().fit(cutouts, sources)
    assert_recovers(fit, truth.flux)
    # What all epochs share goes into the positions.
    found = fit.translation - fit.translation.mean(axis=0)
    true = truth.shift - truth.shift.mean(axis=0)
    assert np.abs(found - true).max() < 0.03


def test_fixed_astrometry_holds_positions_and_a_sigma_ties_them():
    cutouts, sources, truth = simulate(small_sky(2), 8)
    displaced = attrs.evolve(sources, offset=sources.offset + np.array([[0.02, -0.03], [-0.02, 0.01]]))
    held = Joint(fix_astrometry=True).fit(cutouts, displaced)
    assert np.abs(held.offset - displaced.offset).max() < 1e-5
    tied = Joint(fix_astrometry=0.01).fit(cutouts, displaced)
    free = Joint(fix_astrometry=False).fit(cutouts, displaced)
    moved = [np.abs(f.offset - displaced.offset).max() for f in (tied, free)]
    assert 1e-4 < moved[0] < moved[1]
    assert np.abs(free.offset - truth.offset).max() < 0.012


def test_full_psfs_without_a_target():
    sky = small_sky(3, target_fwhm=0.0, kernel=40, seeing=np.full(3, 1.0))
    cutouts, sources, truth = simulate(sky, 9)
    assert_recovers(Joint().fit(cutouts, sources), truth.flux)


def test_a_source_outside_the_stamps_is_named():
    cutouts, sources, _ = simulate(small_sky(2), 1)
    far = PointSources(("A", "far"), np.array([[0.6, 0.3], [30.0, 0.0]]))
    with pytest.raises(UnusableInput, match=r"far \(at x"):
        Joint().fit(cutouts, far)
    with pytest.raises(UnusableInput, match="no usable pixel"):
        Joint().fit(attrs.evolve(cutouts, mask=np.ones_like(cutouts.mask)), sources)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": 1.0}, "clip must be at least 2, or 0 to clip no pixel"),
        ({"fix_astrometry": -0.1}, "fix_astrometry must be true"),
        ({"galaxy_positions": [[1.0]]}, r"pairs in arcsec"),
        ({"galaxies": -1}, "must not be negative"),
    ],
)
def test_options_teach(options, message):
    with pytest.raises(ValueError, match=message):
        Joint(**options)


@pytest.mark.slow
def test_light_curves_of_quads_scatter_as_their_errors_say():
    pulls, offsets = [], []
    for seed in range(3):
        cutouts, sources, truth = simulate(quad(12, seed), seed)
        fit = Joint().fit(cutouts, sources)
        error = errors(fit.covariance)
        difference = fit.flux - truth.flux
        mean = np.average(difference, axis=0, weights=1 / error**2)
        pulls.append((difference - mean) / error * np.sqrt(12 / 11))
        offsets.append(mean / errors(fit.common_covariance).mean(axis=0))
    # 144 pulls: their standard deviation is known to 6 %.
    assert 0.82 < np.std(pulls) < 1.18
    assert np.sqrt(np.mean(np.square(offsets))) < 2.0
