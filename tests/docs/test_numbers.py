"""Constants that the documentation quotes have the values that it quotes."""

from __future__ import annotations

import re

import pages
import pytest

from lcframework import light_curves, raw_frames, registration, stamping, zeropoint
from lcframework.stages import psf_modeling, read_convert_skysub_character_catalog, stamp_extraction
from plugins_builtin import photometry_starred

QUOTED = [
    ("numerics.md", "falls to half the sky's rms", stamping.NEIGHBOUR_LEVEL, 0.5),
    ("numerics.md", "at least 3 and at most 7 times", stamping.NEIGHBOUR_REACH, (3.0, 7.0)),
    ("numerics.md", "fitted from 8 stars", zeropoint.STARS_FOR_COLOUR, 8),
    ("numerics.md", "from 6 stars on", registration.STARS_FOR_MAP, 6),
    ("numerics.md", "floor of 0.003 px", registration.FLOOR, 0.003),
    ("numerics.md", "8 times what is usual", raw_frames.BAD_LINE_SIGMA, 8.0),
    ("numerics.md", "about 60 sky-subtracted frames", stamp_extraction.HOT_PIXEL_FRAMES, 60),
    ("numerics.md", "chi2 above 1.5", light_curves.HIGH_CHI2, 1.5),
    ("numerics.md", "ratio of 6 flux and position", photometry_starred._FAINT, 6.0),
    ("data_at_rest.md", "is above 1.5", light_curves.HIGH_CHI2, 1.5),
    ("data_at_rest.md", "below 3 sigma", light_curves.LOW_SIGNAL, 3.0),
    ("data_at_rest.md", "fewer than 5 sources", read_convert_skysub_character_catalog.FEW_SOURCES, 5),
    ("pipeline.md", "more than 40 %", stamp_extraction.MAX_MASKED, 0.4),
    ("project_file.md", "signal-to-noise 20 and more", psf_modeling.MIN_SIGNAL_TO_NOISE, 20.0),
    ("project_file.md", "at least three", psf_modeling.FEWEST, 3),
]


@pytest.mark.parametrize(("page", "phrase", "value", "quoted"), QUOTED, ids=[q[1] for q in QUOTED])
def test_constants(page: str, phrase: str, value: object, quoted: object) -> None:
    assert phrase in re.sub(r"\s+", " ", pages.read(page))
    assert value == quoted
