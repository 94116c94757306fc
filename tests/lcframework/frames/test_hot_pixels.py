"""From which frames hot pixels are found, and which pixels are hot."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from lcframework.frames import hot_pixels
from lcframework.frames.hot_pixels import FEWEST_FRAMES, MOST_FRAMES, hot_pixel_map, hot_pixel_units, most_frames
from lcframework.storage.tables import Frame
from lcframework.types import PixelFlag


@pytest.mark.parametrize("count", [FEWEST_FRAMES, MOST_FRAMES, MOST_FRAMES + 1, 2 * MOST_FRAMES - 1, 500])
def test_no_more_frames_than_the_most_are_taken_and_they_span_all(count: int) -> None:
    frames = [
        Frame(id=i, original_image_path="", key=str(i), image_relpath=f"{i}.fits", sources_relpath=f"{i}_s.fits",
              instrument="Cam", height=10, width=10)
        for i in range(count)
    ]  # fmt: skip
    config = SimpleNamespace(stamps=SimpleNamespace(hot_pixels="auto"))
    stage: Any = SimpleNamespace(
        toolbox=SimpleNamespace(config_for=lambda instrument: config), components=lambda **parts: parts
    )
    [unit] = hot_pixel_units(stage, frames)
    chosen = unit.payload.frames
    assert len(set(chosen)) == len(chosen) == min(count, MOST_FRAMES)
    assert (chosen[0], chosen[-1]) == (("0.fits", "0_s.fits"), (f"{count - 1}.fits", f"{count - 1}_s.fits"))


def test_of_large_frames_fewer_are_taken() -> None:
    assert most_frames((1000, 1000)) == MOST_FRAMES
    assert most_frames((4096, 4096)) == 23  # images of 4 bytes and flags of 1: 2 GB
    assert most_frames((20_000, 20_000)) == 10


@pytest.mark.parametrize("at_once", [1, 8_000_000])
def test_pixels_that_stay_bright_are_hot_and_stars_are_not(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_pixels, "_AT_ONCE", at_once)
    rng = np.random.default_rng(1)
    frames = []
    for i in range(20):
        image = rng.normal(0.0, 1.0, (40, 60)).astype(np.float32)
        image[10, 20] += 30.0
        image[30, 50] += rng.normal(30.0, 20.0)  # its excess is not constant
        image[5 + i, 3 + 2 * i] += 500.0  # a star, as the field drifts
        flags = np.zeros(image.shape, np.uint8)
        flags[0] = PixelFlag.BLANK
        sources = Table({"x": [3.0 + 2 * i, 20.0], "y": [5.0 + i, 10.0], "a": [1.0, 0.4], "fwhm": [2.5, 0.9]})
        frames.append((image, flags, sources))
    found = hot_pixel_map(frames)
    assert np.argwhere(found.excess).tolist() == [[10, 20]]
    assert found.excess[10, 20] == pytest.approx(30.0, abs=4 * 1.25 / np.sqrt(20))
    assert np.argwhere(found.bad).tolist() == [[30, 50]]
