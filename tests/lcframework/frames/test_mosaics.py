"""Colour mosaics, by what headers say and by what pixels show."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from raw_scenes import BIAS, counts

from lcframework.frames.mosaics import mosaic_doubts, mosaic_said


def mosaic(red: float, blue: float, green: float = 1.0, **options: object) -> np.ndarray:
    image = counts(shape=(400, 420), stars=150, **options)
    share = np.full(image.shape, green)
    share[::2, ::2], share[1::2, 1::2] = red, blue
    return ((image - BIAS) * share + BIAS).astype(np.float32)


def found(image: np.ndarray, **cards: object) -> list:
    return [*mosaic_doubts(image, fits.Header(cards), 65535.0)]


MONO = mosaic(1.0, 1.0)


@pytest.mark.parametrize(
    ("red", "blue", "sky"), [(0.55, 0.35, 500.0), (0.55, 0.35, 5.0), (1.3, 0.5, 5.0), (0.7, 1.3, 5.0)]
)
def test_mosaics_show(red, blue, sky):
    image = mosaic(red, blue, sky=sky)
    (doubt,) = found(image)
    assert (doubt.kind, doubt.severity) == ("mosaic", "serious")
    assert "which differ in a pattern of 2 x 2" in doubt.text
    assert "Take one colour out of the frames" in doubt.remedy
    (doubt,) = found(image, BAYERPAT="RGGB")
    assert doubt.severity == "serious"
    assert "by BAYERPAT = RGGB and by the levels of its pixels" in doubt.text


@pytest.mark.parametrize(
    "cards", [{"BAYERPAT": "GBRG"}, {"COLORTYP": "RGGB"}, {"XBAYROFF": 0, "YBAYROFF": 1}, {"CFATYPE": "bayer"}]
)
def test_the_header_is_believed_unless_pixels_say_no(cards):
    dark = np.random.default_rng(1).normal(100, 5, (300, 300)).astype(np.float32)
    (doubt,) = found(dark, **cards)
    assert doubt.severity == "serious"
    (doubt,) = found(MONO, **cards)
    assert doubt.severity == "note"
    assert "the pixels show none" in doubt.text


@pytest.mark.parametrize("cards", [{}, {"BAYERPAT": "NONE"}, {"COLORTYP": "mono"}, {"BAYERPAT": "", "XBAYROFF": 0}])
def test_frames_of_one_colour(cards):
    assert mosaic_said(fits.Header(cards)) == ""
    assert found(MONO, **cards) == []


@pytest.mark.parametrize("axis", [0, 1])
def test_patterns_of_amplifiers_are_none(axis):
    """Two amplifiers that read every second column or row have levels, and gains, of their own."""
    image = MONO.copy()
    part = (slice(None), slice(1, None, 2)) if axis else (slice(1, None, 2),)
    image[part] = 1.1 * image[part] + 40
    assert found(image) == []


def test_small_blank_and_hot_frames():
    assert found(np.zeros((20, 20), np.float32)) == []
    assert found(np.full((300, 300), np.nan, np.float32)) == []
    hot = np.random.default_rng(1).normal(100, 5, (300, 300)).astype(np.float32)
    hot[np.random.default_rng(2).uniform(size=hot.shape) < 0.01] += 5000
    assert found(hot) == []
