"""What pixels say against the header's gain; and sound frames of many kinds, against which they say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from raw_scenes import BIAS, counts

from lcframework.frames.gain_doubts import background_noise, gain_doubts, greatest_gain, shifted_bits
from lcframework.frames.stored_numbers import Storage
from lcframework.types import HeaderInfo

UNSIGNED = Storage(16, 32768.0)
FAINT = {"brightest": 1e5}


def doubts(image: np.ndarray, gain: float, card: str = "GAIN", chosen: bool = False, **info: object) -> list:
    stored = image.astype(np.float32)
    said = HeaderInfo(60.0, gain, 60000.0, **info)
    return [*gain_doubts(stored, UNSIGNED, fits.Header({card: gain}), said, shifted_bits(stored), chosen)]


@pytest.mark.parametrize("bits", [2, 4])
def test_shifted_counts(bits):
    few = np.minimum(counts(gain=3.5, sky=120.0, **FAINT), 4095)
    shifted = few * 2**bits
    shifted[shifted == shifted.max()] = 65535  # where counts clip, some cameras write this
    assert shifted_bits(shifted) == bits
    assert shifted_bits(shifted + 3.0) == bits
    (doubt,) = doubts(shifted, 3.5, "EGAIN")
    assert (doubt.kind, doubt.value) == ("shifted_counts", 2**bits)
    assert f"multiples of {2**bits}" in doubt.text
    assert f"{3.5 / 2**bits:g} if" in doubt.remedy
    assert doubts(shifted, 3.5 / 2**bits, chosen=True) == []
    (doubt,) = doubts(shifted, 3.5 / 2**bits)  # it may be right, and nobody said so
    assert doubt.severity == "doubt"
    stored = shifted.astype(np.float32)
    assert not gain_doubts(stored, UNSIGNED, fits.Header(), HeaderInfo(60.0, 3.5 / 2**bits, 6e4), bits)  # not in a card


def test_noise_speaks_for_shifted_counts():
    (doubt,) = doubts(16 * counts(gain=3.5, sky=120.0, **FAINT), 3.5)
    assert doubt.severity == "serious"


def test_other_frames_were_not_shifted():
    one = counts(**FAINT)
    average = np.mean([16 * counts(seed, **FAINT) for seed in range(3)], axis=0)
    mended = 16 * one
    mended[::20] = np.rint(average[::20] + 5)  # a row in twenty
    constant = np.full((50, 50), 64.0)
    for image in (one, 2 * one, one + 0.5, 0.37 * one, 16 * one / 1.003, average, np.rint(average), mended, constant):
        assert shifted_bits(image.astype(np.float32)) < 2
    assert shifted_bits(np.full((20, 20), np.nan)) == 0


@pytest.mark.parametrize("gain", [0.25, 1.5, 40.0])
def test_a_setting_is_no_gain(gain):
    image = counts(gain=gain, sky=500.0, brightest=1e5)
    noise = background_noise(image.astype(np.float32))
    assert noise.rms == pytest.approx(np.hypot(np.sqrt(525) / gain, 0.29), rel=0.1)
    assert gain < greatest_gain(noise)
    assert doubts(image, gain) == []
    (doubt,) = doubts(image, 40 * greatest_gain(noise))
    assert (doubt.kind, doubt.severity, doubt.value) == ("gain_too_large", "serious", pytest.approx(40))
    assert "lcf headers" in doubt.remedy
    (doubt,) = doubts(image, 1e-4)
    assert doubt.kind == "gain_too_small"


def test_raw_infrared_frames_are_doubted_mildly():
    """Before the flat, pixels that differ in sensitivity by 3 % look like the noise of a smaller gain."""
    rng = np.random.default_rng(5)
    electrons = rng.poisson(8000.0, (300, 300)) * (1 + 0.03 * rng.normal(size=(300, 300)))
    found = doubts(np.rint(electrons / 5.0).astype(np.uint16), 5.0)
    assert [d.severity for d in found if d.kind == "gain_too_large"] in ([], ["doubt"])


SKIES = [0.0, 3.0, 100.0, 3000.0, 40000.0]


@pytest.mark.parametrize("sky", SKIES)
@pytest.mark.parametrize(("gain", "read_noise"), [(0.3, 1.5), (1.5, 5.0), (1.5, 45.0), (30.0, 20.0)])
def test_true_gains_are_not_doubted(sky, gain, read_noise):
    for bias in (0.0, 100.0 - BIAS, 2000.0):
        image = counts(2, gain, sky=sky, read_noise=read_noise, **FAINT) + bias
        assert doubts(image, gain, read_noise=read_noise) == []


def test_true_gains_of_crowded_and_treated_frames_are_not_doubted():
    crowded = counts(gain=1.5, stars=1500, brightest=2e4)
    flat = np.random.default_rng(3).normal(1, 0.02, crowded.shape)
    average = np.mean([counts(seed, **FAINT) for seed in range(4)], axis=0)
    smooth = (crowded[1:] + crowded[:-1]) / 2
    total = np.sum([counts(seed, **FAINT) for seed in range(10)], axis=0)
    for image in (crowded, crowded / flat, average, smooth, total):
        assert doubts(np.rint(image), 1.5) == []
    assert doubts(crowded, 1.5, data_unit="electron") == []
