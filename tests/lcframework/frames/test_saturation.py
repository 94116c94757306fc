"""The level of saturation: from the header, from the pixels, and what is said where they disagree."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from raw_scenes import counts

from lcframework.frames.saturation import clipped_level, saturation_of

BRIGHT = {"brightest": 3e6, "gain": 1.5}


@pytest.mark.parametrize("level", [65535, 52000, 32767, 16383 * 4, 4095])
def test_clipped_cores_show_their_level(level):
    gain = 1.5 * 65535 / level  # the same stars clip
    assert clipped_level(np.minimum(counts(gain=gain), level).astype(np.float32)) == level


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("options", [{"brightest": 4e5}, {"stars": 0}, {"brightest": 4e3}, {"gain": 40.0, "fwhm": 9.0}])
def test_unclipped_frames_have_none(seed, options):
    assert clipped_level(counts(seed, **options).astype(np.float32), 65535.0) == np.inf


def test_the_end_of_the_type_needs_one_pixel():
    image = np.minimum(counts(brightest=4e5), 65534).astype(np.float32)
    image[20, 30] = 65535
    assert clipped_level(image) == np.inf
    assert clipped_level(image, 65535.0) == 65535


def test_a_fill_value_above_the_level():
    image = np.minimum(counts(), 50000).astype(np.float32)
    image[:, 7] = 99999.0
    image[3, 3] = 60000.0
    assert clipped_level(image) == 50000


def test_scaled_and_calibrated_frames():
    """Where each pixel was divided by its own sensitivity no level repeats."""
    flat = np.random.default_rng(2).normal(1, 0.01, counts().shape)
    assert clipped_level((np.minimum(counts(), 50000) / flat).astype(np.float32)) == np.inf
    assert clipped_level((0.37 * np.minimum(counts(), 50000)).astype(np.float32)) == pytest.approx(0.37 * 50000)


def test_frames_of_one_value_and_of_none():
    assert clipped_level(np.full((20, 20), 65535, np.float32), 65535.0) == np.inf
    assert clipped_level(np.full((20, 20), np.nan, np.float32), 65535.0) == np.inf


CLIPPED = np.minimum(counts(), 52000).astype(np.float32)
UNCLIPPED = counts(brightest=4e5).astype(np.float32)


@pytest.mark.parametrize("value", ["unknown", 0, -1.0, "65,535", True])
def test_a_keyword_that_says_no_level(value):
    header = fits.Header({"SATURATE": value})
    level, (doubt,) = saturation_of(CLIPPED, 65535.0, np.inf, header)
    assert level == 52000
    assert (doubt.kind, doubt.severity) == ("saturation_unreadable", "note")
    assert f"SATURATE = {value!r}; its pixels clip at 52000, which is used" in doubt.text
    level, (doubt,) = saturation_of(UNCLIPPED, 65535.0, np.inf, header)
    assert level == np.inf
    assert (doubt.kind, doubt.severity) == ("saturation_unreadable", "doubt")
    assert "none of its pixels clips" in doubt.text
    assert "[stamps] saturation" in doubt.remedy


def test_what_header_and_pixels_say():
    nothing = fits.Header()
    assert saturation_of(CLIPPED, 65535.0, np.inf, nothing) == (52000, ())
    assert saturation_of(UNCLIPPED, 65535.0, np.inf, nothing) == (np.inf, ())
    assert saturation_of(CLIPPED, 65535.0, 50000.0, nothing) == (50000, ())
    level, (doubt,) = saturation_of(CLIPPED, 65535.0, 65000.0, nothing)
    assert (level, doubt.kind, doubt.severity, doubt.value) == (52000, "saturation_below", "note", 52000)
    assert "below the header's saturation, 65000" in doubt.text
    level, (doubt,) = saturation_of(CLIPPED, 65535.0, 1e6, nothing, setting=60000.0)
    assert (level, doubt.severity) == (60000, "doubt")
    assert "below [stamps] saturation, 60000" in doubt.text
    assert saturation_of(CLIPPED, 65535.0, 1.0, nothing, setting=40000.0) == (40000, ())


def test_a_level_below_the_sky():
    """A level that half of the pixels exceed, and twice that others reach, is none; in bright twilight it is."""
    level, (doubt,) = saturation_of(CLIPPED, 65535.0, 255.0, fits.Header())
    assert level == 52000
    assert "255, which half of the pixels exceed" in doubt.text
    twilight = np.minimum(counts(brightest=0, sky=90000), 65535).astype(np.float32)
    assert saturation_of(twilight, 65535.0, 50000.0, fits.Header())[0] == 50000


def test_a_sum_of_exposures_is_not_saturated_at_the_level_of_one():
    single = counts(brightest=4e5).astype(np.float32)
    level = 0.9 * float(single.max())
    assert saturation_of(single, np.inf, level, fits.Header()) == (level, ())
    found, (doubt,) = saturation_of(9 * single, np.inf, level, fits.Header())
    assert found == np.inf
    assert "pixels exceed 4 times" in doubt.text


def test_stars_that_clip_have_pixels_just_above_the_level_of_a_detector_that_is_not_linear():
    flat = np.random.default_rng(2).normal(1, 0.03, counts().shape)
    assert saturation_of((CLIPPED / flat).astype(np.float32), np.inf, 50000.0, fits.Header()) == (50000.0, ())
