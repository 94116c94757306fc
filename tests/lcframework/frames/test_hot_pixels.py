"""From which frames hot pixels are found."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lcframework.frames.hot_pixels import FEWEST_FRAMES, MOST_FRAMES, hot_pixel_units
from lcframework.storage.tables import Frame


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
