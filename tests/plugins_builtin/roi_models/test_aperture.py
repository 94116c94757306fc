"""Regions in the discs of their comparison stars: isolated sources against truth, and blends."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from lcframework.roi.model_doubts import model_doubts
from lcframework.testing.regions import Sky, simulate
from lcframework.types import Cutouts, Discs, PointSources, RoiFit, UnusableInput
from plugins_builtin.roi_models.aperture import ApertureModel

DISCS = Discs(1.5)


def sky(sources: list[list[float]], flux: list[float], epochs: int = 30, **changes: object) -> Sky:
    """Return sources of a mean flux whose epochs differ by a tenth, in seeing 0.7 to 1.1 arcsec."""
    rng = np.random.default_rng(5)
    seeing = rng.uniform(0.7, 1.1, epochs)
    fluxes = np.array(flux) * rng.uniform(0.9, 1.1, (epochs, len(flux)))
    return Sky(np.array(sources), fluxes, (), seeing, kernel=48, **changes)  # type: ignore[arg-type]


def fitted(scene: Sky, seed: int = 3, discs: Discs = DISCS) -> tuple[RoiFit, Cutouts, np.ndarray]:
    cutouts, sources, truth = simulate(scene, seed)
    cutouts = attrs.evolve(cutouts, discs=discs)
    return ApertureModel().fit(cutouts, sources), cutouts, truth.flux


def pulls(fit: RoiFit, flux: np.ndarray) -> np.ndarray:
    return np.asarray((fit.flux - flux) / np.sqrt(np.einsum("ekk->ek", fit.covariance)))


@pytest.mark.parametrize("brightness", [1500.0, 60.0])
def test_a_single_source_has_its_total_flux_and_a_true_error(brightness: float) -> None:
    fit, _, flux = fitted(sky([[0.1, -0.05]], [brightness], 60))
    pull = pulls(fit, flux)
    assert abs(pull.mean()) < 3.5 / np.sqrt(60)
    assert 0.85 < pull.std() < 1.15
    assert fit.doubts == ()
    away = np.abs(fit.offset - [[0.1, -0.05]]) / np.sqrt(np.diag(fit.offset_covariance))
    assert away.max() < 4.0


def test_two_sources_far_apart_do_not_disturb_each_other() -> None:
    """The brighter one's wings would be more than an error of the fainter one."""
    fit, _, flux = fitted(sky([[0.0, 0.0], [2.6, 2.2]], [3000.0, 150.0], 16, stamp=48))
    pull = pulls(fit, flux)
    assert np.abs(pull.mean(axis=0)).max() < 3.5 / np.sqrt(16)
    assert 0.7 < pull.std() < 1.3
    assert fit.doubts == ()


def test_blends_are_refused_with_what_to_write_instead() -> None:
    scene = sky([[0.0, 0.0], [1.2, 0.6]], [1500.0, 900.0], 4)
    with pytest.raises(UnusableInput, match=r"A and B are 1\.\d times the PSF's median FWHM apart.*need 3.*\"joint\""):
        fitted(scene)
    cutouts, sources, _ = simulate(scene, 1)
    with pytest.raises(UnusableInput, match=r"write \[photometry\] plugin = \"aperture\" too"):
        ApertureModel().fit(cutouts, sources)


@pytest.mark.parametrize(("distance", "share"), [(0.3, 0.3), (0.5, 0.1), (0.8, 0.05), (1.2, 0.1), (2.0, 0.1)])
def test_a_source_that_is_not_in_the_project_file_is_doubted(distance: float, share: float) -> None:
    cutouts, sources, truth = simulate(sky([[0.0, 0.0], [distance, 0.0]], [1500.0, share * 1500.0], 8), 3)
    one = PointSources(("A",), sources.offset[:1])
    cutouts = attrs.evolve(cutouts, discs=DISCS)
    fit = ApertureModel().fit(cutouts, one)
    found = {d.kind for d in (*fit.doubts, *model_doubts("R", "R i r", ["A"], cutouts, fit))}
    assert found & {"disc_not_alone", "unmodelled_source"}
    if distance < 1.0:
        assert np.nanmean(fit.flux / truth.flux[:, :1]) > 1 + 0.7 * share


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_clipped_neighbour_is_doubted_in_few_epochs_too(epochs: int) -> None:
    cutouts, sources, _ = simulate(sky([[0.0, 0.0], [1.9, 0.0]], [1500.0, 150.0], epochs), 3)
    fit = ApertureModel().fit(attrs.evolve(cutouts, discs=DISCS), PointSources(("A",), sources.offset[:1]))
    assert [d.kind for d in fit.doubts] == ["disc_not_alone"]


def test_epochs_whose_core_is_masked_have_no_flux_and_say_why() -> None:
    cutouts, sources, truth = simulate(sky([[0.0, 0.0]], [1500.0], 8), 3)
    mask = cutouts.mask.copy()
    mask[2, 12:20, 12:20] = True
    mask[5] = True
    fit = ApertureModel().fit(attrs.evolve(cutouts, mask=mask, discs=DISCS), sources)
    assert np.flatnonzero(np.isnan(fit.flux[:, 0])).tolist() == [2, 5]
    assert np.abs(pulls(fit, truth.flux)[[0, 1, 3, 4, 6, 7]]).max() < 4.0
    (doubt,) = fit.doubts
    assert doubt.kind == "disc_not_measured"
    assert "no flux in 2 of 8 epochs" in doubt.text


def test_discs_without_room_fail_with_the_remedy() -> None:
    fit, _, _ = fitted(sky([[0.0, 0.0]], [1500.0], 3, stamp=16), discs=Discs(3.0))
    assert not fit.status.usable
    assert "enlarge [stamps]" in fit.status.reason


def test_a_moving_target_is_measured_as_it_is() -> None:
    model = ApertureModel()
    assert model.for_moving_target() is model
