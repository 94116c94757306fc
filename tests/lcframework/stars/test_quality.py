"""What is wrong with a star's stamp, on stamps whose trouble is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from lcframework.stars.quality import (
    Surroundings,
    judge,
    kind_of,
    shape_of,
    signal_to_noise,
    usable_by_verdict,
    verdict,
)
from lcframework.storage.stamp_files import Stamp
from lcframework.types import PixelFlag

SIZE, SEEING, SKY = 24, 4.0, 1.0
SIGMA = SEEING / 2.3548


def gaussian(x: float, y: float, flux: float, sx: float = SIGMA, sy: float = SIGMA) -> np.ndarray:
    index = np.arange(SIZE) - (SIZE - 1) / 2
    profile = np.exp(-0.5 * ((index[None, :] - x) / sx) ** 2 - 0.5 * ((index[:, None] - y) / sy) ** 2)
    return np.asarray(flux * profile / (2 * np.pi * sx * sy))


def stamp(seed: int, flux: float = 5000.0, sx: float = SIGMA, sy: float = SIGMA, **more: Any) -> Stamp:
    """Return a star 0.3, -0.2 pixels from the centre, expected where it is, with sky and photon noise."""
    rng = np.random.default_rng(seed)
    image = gaussian(0.3, -0.2, flux, sx, sy) + more.get("extra", 0.0)
    noise = np.sqrt(SKY**2 + np.maximum(image, 0))
    data = image + noise * rng.normal(size=image.shape)
    mask = more.get("mask", np.zeros(image.shape, np.uint8))
    return Stamp(data.astype(np.float32), noise.astype(np.float32), mask, (100, 200), (0.3, -0.2), "")


def around(sources: list[tuple[float, float, float]] = [], stars: Any = None, light: Any = (1.0,)) -> Surroundings:  # noqa: B006
    """Return the surroundings; positions are relative to the stamps' centre, (x, y, fwhm)."""
    centre = np.array([100.0, 200.0]) + (SIZE - 1) / 2
    table = Table(rows=[(centre[0] + x, centre[1] + y, w) for x, y, w in [(0.3, -0.2, SEEING), *sources]],
                  names=("x", "y", "fwhm"))  # fmt: skip
    places = centre + np.atleast_2d([(0.3, -0.2)] if stars is None else stars)
    return Surroundings(table, SEEING, 6.0, places, np.array(light, float))


def flagged(where: Any, flag: PixelFlag) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[where] = flag.value
    return mask


def test_a_good_star_has_no_verdict():
    assert verdict(stamp(1), around()) == ""
    # the expected signal-to-noise of the pixels within one FWHM of a star of 5000 e-
    image = gaussian(0.3, -0.2, 5000.0)
    index = np.arange(SIZE) - (SIZE - 1) / 2
    core = np.hypot(index[None, :] - 0.3, index[:, None] + 0.2) < SEEING
    expected = image[core].sum() / np.sqrt((SKY**2 + image[core]).sum())
    assert signal_to_noise(stamp(1), SEEING) == pytest.approx(expected, abs=4.0)


@pytest.mark.parametrize(
    ("where", "flag", "kind"),
    [
        ((12, 12), PixelFlag.SATURATED, "saturated"),
        ((slice(0, 24), slice(0, 3)), PixelFlag.BLANK, "edge"),
        ((slice(0, 24), slice(0, 10)), PixelFlag.BAD_LINE, "masked"),
        ((slice(7, 17), slice(7, 17)), PixelFlag.COSMIC, "masked"),
        ((slice(4, 18), slice(12, 18)), PixelFlag.NEIGHBOUR, "blended"),
        ((12, slice(0, 24)), PixelFlag.BAD_LINE, ""),  # a line through the star is what masks are for
        ((2, 2), PixelFlag.SATURATED, ""),  # another star's
        ((slice(0, 24), slice(0, 2)), PixelFlag.BLANK, ""),
    ],
)
def test_masks(where, flag, kind):
    assert kind_of(verdict(stamp(2, mask=flagged(where, flag)), around())) == kind


def test_a_close_source_is_a_blend_where_it_is_bright_enough():
    place = (4.5, 1.5)
    for share, kind in ((0.3, "blended"), (0.06, "blended"), (0.005, "")):
        extra = gaussian(*place, 20000.0 * share)
        said = verdict(stamp(3, 20000.0, extra=extra), around([(*place, SEEING)]))
        assert kind_of(said) == kind, said
    # listed, but no light there beyond the star's own wing
    assert verdict(stamp(3, 20000.0), around([(*place, SEEING)])) == ""
    # narrower than a star: a cosmic ray, which the masker deals with
    assert verdict(stamp(3, 20000.0, extra=gaussian(*place, 3000.0)), around([(*place, 1.0)])) == ""
    # a distant neighbour is masked, and no reason to do without the star
    assert verdict(stamp(3, 20000.0, extra=gaussian(9, 9, 3000.0)), around([(9.0, 9.0, SEEING)])) == ""


def test_a_catalogue_star_that_the_frame_does_not_show():
    two = [(0.3, -0.2), (2.0, 1.0)]
    assert kind_of(verdict(stamp(4), around(stars=two, light=(1.0, 0.1)))) == "blended"
    assert verdict(stamp(4), around(stars=two, light=(1.0, 0.01))) == ""
    masked = stamp(4, mask=flagged((slice(10, 16), slice(12, 18)), PixelFlag.NEIGHBOUR))
    assert "catalogue" not in verdict(masked, around(stars=two, light=(1.0, 0.1)))


def test_shapes_are_unbiased_and_their_errors_true():
    found = [shape_of(stamp(seed, 3000.0), SEEING) for seed in range(200)]
    size = np.array([s.size for s in found if s is not None])
    e = np.array([s.ellipticity for s in found if s is not None])
    assert len(size) == 200
    stated = np.median([s.size_error for s in found if s is not None])
    # the standard deviation of 200 values is known to 5 %, and errors are of first order in the noise
    assert np.std(size) == pytest.approx(stated, rel=0.2)
    assert np.mean(size) == pytest.approx(np.log(SIGMA), abs=4 * stated / np.sqrt(200) + 0.01)
    assert np.std(e[:, 0]) == pytest.approx(np.median([s.ellipticity_error for s in found if s]), rel=0.25)
    assert np.abs(e.mean(axis=0)).max() < 0.01


def test_shape_of_an_ellipse():
    wide = shape_of(stamp(5, 1e6, 1.15 * SIGMA, SIGMA), SEEING)
    assert wide is not None
    # (1.15^2 - 1) / (1.15^2 + 1), and the pixels' own noise of 0.003
    assert wide.ellipticity[0] == pytest.approx(0.139, abs=0.012)
    assert wide.size == pytest.approx(np.log(SIGMA) + 0.5 * np.log(0.5 * (1 + 1.15**2)), abs=0.01)


def test_masked_pixels_do_not_change_a_shape():
    clean = shape_of(stamp(6, 1e5), SEEING)
    holed = shape_of(stamp(6, 1e5, mask=flagged((slice(8, 16), 13), PixelFlag.COSMIC)), SEEING)
    assert clean is not None
    assert holed is not None
    assert holed.size == pytest.approx(clean.size, abs=0.02)


def test_stars_unlike_the_others():
    stars = {f"s{i}": stamp(10 + i, 4000.0 * (1 + i)) for i in range(9)}
    stars["galaxy"] = stamp(30, 5e4, 1.3 * SIGMA, 1.3 * SIGMA)
    stars["double"] = stamp(31, 5e4, extra=gaussian(0.9 * SEEING, -0.2, 1.5e4))
    said = judge(stars, around())
    assert {name: kind_of(why) for name, why in said.items() if why} == {"galaxy": "extended", "double": "elongated"}
    stars["double"] = stamp(31, 5e4, 1.2 * SIGMA, 0.9 * SIGMA)
    assert kind_of(judge(stars, around())["double"]) == "elongated"


def test_how_many_good_stars_are_called_unlike():
    rng = np.random.default_rng(7)
    called = count = 0
    for trial in range(40):  # a PSF that changes by 3 % in width and 0.03 in ellipticity over the field
        widths = SIGMA * (1 + 0.03 * rng.normal(size=(12, 2)))
        stars = {str(i): stamp(1000 + 20 * trial + i, 10 ** rng.uniform(2.7, 5), *widths[i]) for i in range(12)}
        said = judge(stars, around())
        called, count = called + sum(bool(v) for v in said.values()), count + len(said)
    assert called <= 1  # of 480: below 5 sigma nothing is called unlike
    assert count == 480


def test_too_few_stars_are_not_compared():
    stars = {f"s{i}": stamp(i, 1e4, SIGMA * (1 + 0.4 * i), SIGMA) for i in range(4)}
    assert not any(judge(stars, around()).values())


def test_blended_stars_serve_where_there_are_no_others():
    crowded = {"a": "blended: x", "b": "saturated: x", "c": "", "d": "", "e": "elongated: x"}
    assert usable_by_verdict(crowded) == {"a": True, "b": False, "c": True, "d": True, "e": False}
    assert not usable_by_verdict(crowded | {"f": ""})["a"]


def test_nothing_there():
    empty = stamp(8, 0.0)
    assert shape_of(Stamp(-np.abs(empty.data), empty.noise, empty.mask, (0, 0), (0.0, 0.0), ""), SEEING) is None
    bare = Surroundings(Table(names=("x", "y", "fwhm")), SEEING, 6.0, np.zeros((0, 2)), np.zeros(0))
    assert verdict(stamp(9), bare) == ""


def test_noise_beside_a_faint_star_is_no_neighbour():
    place = (4.5, 1.5)
    for seed in range(40):  # each a chance of 3e-7
        assert verdict(stamp(seed, 150.0), around([(*place, SEEING)])) == ""
