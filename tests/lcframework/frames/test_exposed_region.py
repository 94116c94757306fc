"""The part of a raw image that sees light, by its header and by its pixels."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from lcframework.frames.exposed_region import dark_strip, unexposed
from lcframework.types import UnusableInput

SHAPE = (200, 240)
LEFT, RIGHT = 7, 20


def camera(sky: float, seed: int = 1, overscan: bool = True, vignetting: float = 0.6) -> np.ndarray:
    """Return a raw image, ADU, with a bias of 1000, gain 2 and 8 e- read noise; `sky` e- in the middle."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = sky * (1 - vignetting * (((x - 120) / 120) ** 2 + ((y - 100) / 100) ** 2) / 2)
    for _ in range(20):
        x0, y0, flux = rng.uniform(10, 230), rng.uniform(5, 195), 10 ** rng.uniform(3, 5)
        light = light + flux / 12.6 * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / 2.0)
    if overscan:
        light[:, :LEFT] = 0
        light[:, -RIGHT:] = 0
    return (1000 + (rng.poisson(light) + rng.normal(0, 8, SHAPE)) / 2).astype(np.float32)


@pytest.mark.parametrize("sky", [1000.0, 10000.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_strips_are_found_in_the_pixels(sky, seed):
    dark, doubts = unexposed(camera(sky, seed), fits.Header(), SHAPE)
    assert dark is not None
    expected = np.zeros(SHAPE, bool)
    expected[:, :LEFT] = expected[:, -RIGHT:] = True
    assert np.array_equal(dark, expected)
    assert [d.kind for d in doubts] == ["overscan_by_pixels"]
    assert "the first 7 columns, the last 20 columns" in doubts[0].text
    turned, _ = unexposed(camera(sky, seed).T, fits.Header(), SHAPE[::-1])
    assert np.array_equal(turned, expected.T)


@pytest.mark.parametrize("sky", [5.0, 300.0, 10000.0])
@pytest.mark.parametrize("vignetting", [0.0, 0.95])
def test_none_is_found_where_there_is_none(sky, vignetting):
    for seed in range(4):
        assert unexposed(camera(sky, seed, False, vignetting), fits.Header(), SHAPE) == (None, ())


def test_the_header_comes_first():
    header = fits.Header({"TRIMSEC": "[11:220,1:200]", "BIASSEC": "[223:240,1:200]", "DATASEC": "[8:220,1:200]"})
    dark, doubts = unexposed(camera(1000.0), header, SHAPE)
    assert dark is not None
    assert doubts == ()
    columns = dark.any(axis=0)
    assert np.flatnonzero(~columns).tolist() == list(range(10, 220))
    cut, _ = unexposed(camera(1000.0)[5:-5, 4:-4], header, SHAPE)
    assert np.array_equal(cut, dark[5:-5, 4:-4])


@pytest.mark.parametrize(
    "cards",
    [
        {"TRIMSEC": "[11:2058,1:2048]"},  # of an image that was trimmed or binned
        {"TRIMSEC": "[1:60,1:50]"},  # of a window
        {"DATASEC": "unknown", "BIASSEC": ""},
    ],
)
def test_sections_that_can_not_be_right_are_not_used(cards):
    assert unexposed(camera(1000.0, overscan=False), fits.Header(cards), SHAPE) == (None, ())


def test_amplifiers_are_joined():
    header = fits.Header({"DATASEC1": "[1:100,1:200]", "DATASEC2": "[141:240,1:200]"})
    dark, _ = unexposed(camera(1000.0), header, SHAPE)
    assert dark is not None
    assert dark[:, 100:140].all()
    assert dark.mean() == 40 / 240


def test_the_users_section():
    dark, doubts = unexposed(camera(1000.0), fits.Header({"TRIMSEC": "[1:2,1:2]"}), SHAPE, "[8:220,1:200]")
    assert dark is not None
    assert (dark.sum(), doubts) == (27 * 200, ())
    assert unexposed(camera(1000.0), fits.Header(), SHAPE, "all") == (None, ())
    with pytest.raises(UnusableInput, match="does not lie within the image of 240 x 200 pixels"):
        unexposed(camera(1000.0), fits.Header(), SHAPE, "[8:250,1:200]")


def test_blank_columns_are_no_strip():
    image = camera(1000.0, overscan=False)
    image[:, :5] = np.nan
    assert dark_strip(image) == 0
