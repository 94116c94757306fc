"""How files store counts, and unsigned ones that were written as signed."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from raw_scenes import counts

from lcframework.config.sections import Frames
from lcframework.frames.raw_frames import read_raw
from lcframework.frames.stored_numbers import Storage, unwrapped
from lcframework.types import UnusableInput

SIGNED = Storage(16)


@pytest.mark.parametrize(
    ("storage", "top"),
    [
        (SIGNED, 32767), (Storage(16, 32768.0), 65535), (Storage(8), 255), (Storage(8, -128.0), 127),
        (Storage(-32), np.inf), (Storage(16, 0.0, 0.5), np.inf),
    ],
)  # fmt: skip
def test_the_greatest_count(storage, top):
    assert storage.top == top


def wrapped(**options: object) -> tuple[np.ndarray, np.ndarray]:
    true = np.minimum(counts(**options), 65535)
    return true, true.astype(np.uint16).view(np.int16).astype(np.float32)


@pytest.mark.parametrize("options", [{}, {"fwhm": 2.0}, {"fwhm": 6.0, "brightest": 8e6}, {"brightest": 3e7}])
def test_negative_cores_are_mended(options):
    true, stored = wrapped(**options)
    image, storage, (doubt,) = unwrapped(stored, SIGNED, "a.fits")
    np.testing.assert_array_equal(image, true)
    assert storage.top == 65535
    assert (doubt.kind, doubt.severity, doubt.value) == ("wrapped_counts", "note", np.count_nonzero(true > 32767))


def test_cores_that_can_be_read_in_more_than_one_way_are_refused():
    true, _ = wrapped()
    filled = np.where(true > 30000, -1000, true).astype(np.float32)  # a value that stands for saturated pixels
    with pytest.raises(
        UnusableInput, match=r"the cores of \d+ bright stars in a.fits hold negative counts.*BZERO = 32768"
    ):
        unwrapped(filled, SIGNED, "a.fits")
    rng = np.random.default_rng(3)
    mixed = np.where(rng.uniform(size=true.shape) < 0.02, -500.0, wrapped()[1]).astype(np.float32)
    with pytest.raises(UnusableInput, match="it is not certain which"):
        unwrapped(mixed, SIGNED, "a.fits")


def test_sound_frames_are_left_alone():
    less_bias = np.minimum(counts() - 300, 32767)
    less_bias -= np.median(less_bias)
    shifted = np.minimum(counts(), 65535) - 32768.0  # BZERO is missing, and the writer subtracted it
    dead = np.minimum(counts(), 32767)
    dead[::40, ::50] = -30000
    for image in (less_bias, shifted, dead, np.zeros((30, 30)), np.full((30, 30), -5.0)):
        given = image.astype(np.float32)
        found, storage, doubts = unwrapped(given, SIGNED, "a.fits")
        assert found is given
        assert (storage, doubts) == (SIGNED, ())
    stored = wrapped()[1]
    assert unwrapped(stored, Storage(-32), "a.fits")[0] is stored


def test_files_are_mended_when_they_are_read(tmp_path):
    true, stored = wrapped()
    fits.PrimaryHDU(stored.astype(np.int16)).writeto(tmp_path / "a.fits")
    raw = read_raw(tmp_path / "a.fits", Frames())
    np.testing.assert_array_equal(raw.image, true)
    assert [d.kind for d in raw.doubts] == ["wrapped_counts"]
    fits.PrimaryHDU(true.astype(np.uint16)).writeto(tmp_path / "b.fits")
    raw = read_raw(tmp_path / "b.fits", Frames())
    assert (raw.storage, raw.doubts) == (Storage(16, 32768.0), ())
    fits.CompImageHDU(true.astype(np.uint16)).writeto(tmp_path / "c.fits")
    assert read_raw(tmp_path / "c.fits", Frames()).storage.top == 65535
