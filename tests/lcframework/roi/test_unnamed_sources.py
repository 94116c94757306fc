"""Point sources without a name are told from galaxies, in images of extended light that are what the sky is."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import pytest

from lcframework.roi.model_doubts import model_doubts, unmodelled_source
from lcframework.roi.unnamed_sources import unnamed_sources
from lcframework.testing.regions import Galaxy, Sky, Truth, quad, render_galaxies, render_point, simulate
from lcframework.types import Cutouts, FitState, FitStatus, Floats, HighResolution, RoiFit, Severity

E = 4
POINT = np.ones((1, 1))


def fitted(
    sky: Sky, named: Sequence[int], seed: int = 0, bump: tuple[Floats, float] | None = None
) -> tuple[Cutouts, RoiFit, Truth]:
    """Return cutouts, and a fit whose extended light is the galaxies and the mean of the sources without a name.

    With `bump`, a place and a flux, the image has a narrow peak there that the frames do not have.
    """
    cutouts, _, truth = simulate(sky, seed)
    hidden = [i for i in range(len(sky.sources)) if i not in named]
    mean, s = truth.flux.mean(axis=0), sky.subsampling
    transform = s * cutouts.transform[0]
    transform[:, 2] += 0.5 * (s - 1)
    fine = attrs.evolve(sky, stamp=s * sky.stamp, subsampling=1, kernel=1, scale=sky.scale / s)
    image = render_galaxies(fine, transform, POINT)
    places = [(sky.sources[i], mean[i]) for i in hidden] + ([bump] if bump else [])
    for place, flux in places:
        image = image + flux * render_point(fine, transform[:, :2] @ place + transform[:, 2], POINT)
    model = truth.noiseless.copy()
    for e, (own, kernel) in enumerate(zip(cutouts.transform, cutouts.kernels.values, strict=True)):
        for place, change in [(sky.sources[i], mean[i] - truth.flux[e, i]) for i in hidden] + ([bump] if bump else []):
            model[e] += change * render_point(sky, own[:, :2] @ place + own[:, 2] + truth.shift[e], kernel)
    k = len(named)
    fit = RoiFit(
        flux=truth.flux[:, list(named)], covariance=np.ones((E, k, k)), common_covariance=np.zeros((E, k, k)),
        offset=sky.sources[list(named)], offset_covariance=np.eye(2 * k), translation=truth.shift,
        high_resolution=HighResolution(image, image, transform), model=model, outliers=np.zeros(model.shape, bool),
        reduced_chi2=np.ones(E), status=FitStatus(FitState.CONVERGED, 3, ""),
    )  # fmt: skip
    return cutouts, fit, truth


@pytest.fixture(scope="module")
def half_named() -> tuple[Cutouts, RoiFit, Truth]:
    """Return a quad on its lens galaxy, of which two images have names."""
    return fitted(quad(E, 0), [0, 1])


def test_two_of_four_images_without_a_name_are_found_where_they_are(half_named):
    sky = quad(E, 0)
    cutouts, fit, truth = half_named
    assert unmodelled_source(cutouts, fit) is None  # the image holds their light: residuals show nothing
    found = unnamed_sources(cutouts, fit)
    assert len(found) == 2
    for source, i in zip(found, (2, 3), strict=True):  # the brightest first
        np.testing.assert_allclose(source.offset, sky.sources[i], atol=0.06)
        assert source.flux == pytest.approx(truth.flux[:, i].mean(), rel=0.1)
        assert source.share == pytest.approx(source.flux / truth.flux[:, :2].max())


def test_the_doubt_says_where_and_how_bright(half_named):
    sky = quad(E, 0)
    cutouts, fit, _ = half_named
    (doubt,) = model_doubts("T", "T cam r", ["A", "B"], cutouts, fit, (150.0, -30.0))
    assert (doubt.kind, doubt.severity, doubt.subject) == ("unnamed_source", Severity.SERIOUS, "T cam r")
    assert doubt.value == pytest.approx(np.hypot(*sky.sources[2]), abs=0.06)
    assert "2 places" in doubt.text
    xi, eta = unnamed_sources(cutouts, fit)[0].offset
    ra, dec = 150 + xi / 3600 / np.cos(np.radians(30)), -30 + eta / 3600
    assert f"{xi:+.2f} arcsec east and {eta:+.2f} arcsec north" in doubt.text
    assert f"(RA {ra:.6f}, Dec {dec:+.6f})" in doubt.text
    (moving,) = model_doubts("T", "T cam r", ["A", "B"], cutouts, fit)
    assert "RA" not in moving.text


def test_all_named_on_a_lens_galaxy_with_a_ring_is_no_doubt():
    sky = quad(E, 0)
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = tuple(Galaxy(60.0, 0.7 * np.cos(a), 0.7 * np.sin(a), 0.35, 1.0, 0.9, 0.0) for a in angles)
    cutouts, fit, _ = fitted(attrs.evolve(sky, galaxies=sky.galaxies + ring), [0, 1, 2, 3])
    assert unnamed_sources(cutouts, fit) == []


@pytest.mark.parametrize("radius", [1.0])
@pytest.mark.parametrize("index", [1.0, 4.0])
def test_a_galaxy_with_a_nucleus_is_no_point_source(index, radius):
    """From an effective radius of a FWHM of the seeing on."""
    galaxy = Galaxy(3000.0, 0.03, 0.02, radius, index, 0.7)
    sky = Sky(np.array([[1.6, 0.0]]), np.full((E, 1), 1000.0), (galaxy,), np.full(E, 1.0))
    cutouts, fit, _ = fitted(sky, [0])
    assert unnamed_sources(cutouts, fit) == []


def test_a_narrow_peak_that_the_frames_do_not_ask_for_is_no_point_source():
    sky = Sky(np.array([[1.6, 0.0]]), np.full((E, 1), 1000.0), (), np.full(E, 1.0))
    broad = attrs.evolve(sky, galaxies=(Galaxy(400.0, -0.8, 0.3, 0.45, 0.5, 1.0),))
    cutouts, _, truth = simulate(broad, 0)
    _, fit, _ = fitted(sky, [0], bump=(np.array([-0.8, 0.3]), 400.0))
    assert unnamed_sources(cutouts, attrs.evolve(fit, translation=truth.shift)) == []
    # The same peak where the frames have a point source.
    pair = attrs.evolve(sky, sources=np.array([[1.6, 0.0], [-0.8, 0.3]]), flux=np.tile([1000.0, 400.0], (E, 1)))
    assert len(unnamed_sources(*fitted(pair, [0])[:2])) == 1


def test_without_extended_light_or_flux_nothing_is_judged(half_named):
    cutouts, fit, _ = half_named
    empty = attrs.evolve(fit.high_resolution, background=np.zeros((64, 64)))
    assert unnamed_sources(cutouts, attrs.evolve(fit, high_resolution=empty)) == []
    assert unnamed_sources(cutouts, attrs.evolve(fit, flux=np.full((E, 2), np.nan))) == []
