"""The pixels of a region that no source's PSF reaches, and what speaks against its model."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from lcframework.roi.model_doubts import model_doubts, unmodelled_source
from lcframework.roi.support import beyond_psfs, harmful_pixels
from lcframework.types import Cutouts, FitState, FitStatus, HighResolution, Kernels, PointSources, RoiFit, Severity

E, N, SCALE, SIGMA = 5, 32, 0.5, 1.4  # epochs, pixels, arcsec a pixel, pixels
CENTRE = (N - 1) / 2


def gaussian(x: float, y: float, flux: float) -> np.ndarray:
    yy, xx = np.mgrid[:N, :N]
    return flux * np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / SIGMA**2) / (2 * np.pi * SIGMA**2)


def cutouts(data: np.ndarray, size: int = 48, rng: int = 1) -> Cutouts:
    """Return epochs whose x grows to the west, dithered by a pixel."""
    shifts = np.random.default_rng(rng).integers(-1, 2, (E, 2))
    transform = np.zeros((E, 2, 3))
    transform[:, 0, 0], transform[:, 1, 1] = -1 / SCALE, 1 / SCALE
    transform[:, :, 2] = CENTRE + shifts
    noise = np.ones((E, N, N))
    moved = np.stack([np.roll(image, tuple(s)[::-1], (0, 1)) for image, s in zip(data, shifts, strict=True)])
    return Cutouts(
        data=moved + np.random.default_rng(2).normal(0, 1, (E, N, N)), noise=noise, mask=np.zeros((E, N, N), bool),
        kernels=Kernels(np.ones((E, size, size)) / size**2, 2, 0.0), transform=transform,
        registration_covariance=np.zeros((E, 2, 2)), mjd=np.arange(E, dtype=float),
        seeing=np.full(E, 2.3548 * SIGMA * SCALE), airmass=np.ones(E), normalization_error=np.zeros(E),
    )  # fmt: skip


def fit(model: np.ndarray, chi2: float = 1.0, state: FitState = FitState.CONVERGED) -> RoiFit:
    return RoiFit(
        flux=np.full((E, 1), 1000.0), covariance=np.ones((E, 1, 1)), common_covariance=np.zeros((E, 1, 1)),
        offset=np.zeros((1, 2)), offset_covariance=np.eye(2), translation=np.zeros((E, 2)),
        high_resolution=HighResolution(np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((2, 3))), model=model,
        outliers=np.zeros((E, N, N), bool), reduced_chi2=np.full(E, chi2), status=FitStatus(state, 3, "why"),
    )  # fmt: skip


def test_pixels_beyond_the_support_of_a_single_source() -> None:
    """Of the stars' stamps of 24 pixels as many are left of the region's 32, wherever the source lies in a pixel."""
    epochs = cutouts(np.zeros((E, N, N)))
    beyond = beyond_psfs(epochs, PointSources(("A",), np.array([[0.1, -0.05]])))
    for mask in beyond:
        rows, columns = (~mask).any(1).sum(), (~mask).any(0).sum()
        assert (rows, columns) == (24, 24)
        assert (~mask).sum() == 24 * 24


def test_sources_apart_keep_the_pixels_of_each() -> None:
    epochs = cutouts(np.zeros((E, N, N)), size=20)  # reach 5 pixels
    two = PointSources(("A", "B"), np.array([[2.5, 0.0], [-2.5, 0.0]]))  # 5 pixels either side
    (first, *_) = beyond_psfs(epochs, two)
    x, y = epochs.transform[0, :, 2]
    assert not first[int(y), int(x - 9)]
    assert not first[int(y), int(x + 9)]
    assert first[int(y + 7), int(x)]
    assert not beyond_psfs(epochs, PointSources((), np.zeros((0, 2)))).any()


def moffat(size: int, fwhm: float, beta: float = 3.0) -> np.ndarray:
    """Return a profile on half pixels whose light beyond its array is lost."""
    yy, xx = (np.mgrid[:size, :size] - (size - 1) / 2) / 2
    core = 0.5 * fwhm / np.sqrt(2 ** (1 / beta) - 1)
    profile = (1 + (xx**2 + yy**2) / core**2) ** -beta
    return profile / profile.sum()


@pytest.mark.parametrize(
    ("seeings", "flux", "harmful"),
    [
        ([3.0, 3.2, 2.9, 3.1, 3.0], 2000.0, False),  # hardly any light lies beyond
        ([8.0] * E, 3e4, True),  # so much lies beyond that the magnitude would be wrong
        ([3.0, 3.2, 4.9, 3.1, 3.0], 1e6, True),  # what lies beyond follows the seeing, and no noise hides it
        ([3.0, 3.2, 4.9, 3.1, 3.0], 500.0, False),  # noise hides it
    ],
)
def test_pixels_are_left_out_where_the_light_beyond_costs_more_than_they_bring(seeings, flux, harmful) -> None:
    epochs = cutouts(np.stack([gaussian(CENTRE, CENTRE, flux)] * E))
    epochs = attrs.evolve(epochs, kernels=Kernels(np.stack([moffat(48, fwhm) for fwhm in seeings]), 2, 0.0))
    one = PointSources(("A",), np.zeros((1, 2)))
    found = harmful_pixels(epochs, one)
    assert found.any() == harmful
    if harmful:
        assert (found == beyond_psfs(epochs, one)).all()


def test_an_epoch_without_flux_decides_nothing() -> None:
    images = np.stack([gaussian(CENTRE, CENTRE, 1e6)] * E)
    images[2] = 0.0
    epochs = cutouts(images)
    seeings = [3.0, 3.2, 4.9, 3.1, 3.0]
    epochs = attrs.evolve(epochs, kernels=Kernels(np.stack([moffat(48, fwhm) for fwhm in seeings]), 2, 0.0))
    assert harmful_pixels(epochs, PointSources(("A",), np.zeros((1, 2)))).any()


def test_light_that_no_model_holds_is_found_where_it_is() -> None:
    source, other = gaussian(CENTRE, CENTRE, 1000.0), gaussian(CENTRE - 6, CENTRE + 4, 400.0)
    epochs = cutouts(np.stack([source + other] * E))
    empty = cutouts(np.stack([source] * E))
    model = empty.data - np.random.default_rng(2).normal(0, 1, (E, N, N))  # the same noise: the source alone
    found = unmodelled_source(epochs, fit(model))
    assert found is not None
    offset, share = found
    assert offset == pytest.approx([3.0, 2.0], abs=0.5)  # east is towards smaller x
    assert share == pytest.approx(0.4, abs=0.06)
    assert unmodelled_source(empty, fit(model)) is None


def test_what_speaks_against_a_fit() -> None:
    epochs = cutouts(np.zeros((E, N, N)))
    flat = np.zeros((E, N, N))
    assert list(model_doubts("T", "T cam r", ["A"], epochs, fit(flat))) == []
    (poor,) = model_doubts("T", "T cam r", ["A"], epochs, fit(flat, chi2=2.0))
    assert (poor.kind, poor.severity, poor.value) == ("poor_fit", Severity.DOUBT, 2.0)
    (worse,) = model_doubts("T", "T cam r", ["A"], epochs, fit(flat, chi2=6.0))
    assert worse.severity is Severity.SERIOUS
    (early,) = model_doubts("T", "T cam r", ["A"], epochs, fit(flat, state=FitState.BOUND))
    assert early.kind == "fit_not_converged"
    (with_aperture,) = model_doubts("T", "T cam r", ["A"], attrs.evolve(epochs, aperture=4.0), fit(flat, chi2=6.0))
    assert with_aperture.severity is Severity.DOUBT
    crossed = attrs.evolve(fit(flat), reduced_chi2=np.where(np.arange(E) == 3, 40.0, 1.0))
    (single,) = model_doubts("T", "T cam r", ["A"], epochs, crossed)
    assert (single.kind, single.value) == ("poor_epochs", 40.0)
    assert f"in 1 of {E} epochs" in single.text
    flux = np.where(np.arange(E)[:, None] < 2, np.nan, 1000.0)
    (hidden,) = model_doubts("T", "T cam r", ["A"], epochs, attrs.evolve(fit(flat), flux=flux))
    assert (hidden.kind, hidden.value) == ("source_hidden", 2)
    masked = attrs.evolve(epochs, mask=np.ones((E, N, N), bool))
    assert unmodelled_source(masked, fit(flat)) is None


@pytest.mark.parametrize(("share", "said"), [(0.035, False), (0.07, True)])
def test_light_is_judged_by_its_share_of_the_brightest_source(share, said) -> None:
    """Both are more than significant: what is small beside the brightest source may be an error of its PSF."""
    model = np.stack([gaussian(CENTRE, CENTRE, 1e5)] * E)
    other = gaussian(CENTRE - 6, CENTRE + 4, 1e5 * share)
    epochs = cutouts(model + other)
    found = attrs.evolve(fit(cutouts(model).data), flux=np.full((E, 1), 1e5))
    assert (unmodelled_source(epochs, found) is not None) == said
