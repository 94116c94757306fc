"""Constants that the documentation quotes have the values that it quotes."""

from __future__ import annotations

import re

import pages
import pytest

from lcframework.frames import hot_pixels, pixels, stamping
from lcframework.roi import light_curves, registration
from lcframework.stages import read_convert_skysub_character_catalog
from lcframework.stars import choice as star_choice
from lcframework.stars import curves as star_curves
from lcframework.stars import quality as star_quality
from lcframework.stars import zeropoint
from plugins_builtin.engine.stars import discs
from plugins_builtin.photometry import starred as photometry_starred
from plugins_builtin.roi_models import aperture as roi_aperture
from plugins_builtin.setting_rules import aperture_radius
from plugins_builtin.setting_rules import stamps as stamp_sizes

QUOTED = [
    ("numerics.md", "falls to half the sky's rms", stamping.NEIGHBOUR_LEVEL, 0.5),
    ("numerics.md", "at least 3 and at most 12 times", stamping.NEIGHBOUR_REACH, (3.0, 12.0)),
    ("numerics.md", "fall to twice the rms", stamping.WING_LEVEL, 2.0),
    ("numerics.md", "fitted from 8 stars", zeropoint.STARS_FOR_COLOUR, 8),
    ("numerics.md", "from 6 stars on", registration.STARS_FOR_MAP, 6),
    ("numerics.md", "floor of 0.003 px", registration.FLOOR, 0.003),
    ("numerics.md", "8 times what is usual", pixels.BAD_LINE_SIGMA, 8.0),
    ("numerics.md", "up to 120 sky-subtracted frames", hot_pixels.MOST_FRAMES, 120),
    ("numerics.md", "chi2 above 1.5", light_curves.HIGH_CHI2, 1.5),
    ("numerics.md", "ratio of 6 flux and position", photometry_starred._FAINT, 6.0),
    ("numerics.md", "less than 80 % falls on usable", discs.LEAST_SHARE, 0.8),
    ("numerics.md", "PSF differ by more than 2 % and five errors", roi_aperture._DIFFERENT, 0.02),
    ("numerics.md", "than 2 % of the light in the disc", roi_aperture._MISSHAPEN, 0.02),
    ("numerics.md", "two standard errors of the mean ratio, and by 3 %", aperture_radius._GAIN, 0.03),
    ("settings.md", "both are 7 times the seeing", stamp_sizes._DISCS, 7.0),
    ("data_at_rest.md", "is above 1.5", light_curves.HIGH_CHI2, 1.5),
    ("data_at_rest.md", "below 3 sigma", light_curves.LOW_SIGNAL, 3.0),
    ("data_at_rest.md", "fewer than 5 sources", read_convert_skysub_character_catalog.FEW_SOURCES, 5),
    ("pipeline.md", "more than 40 %", star_quality.MAX_MASKED, 0.4),
    ("pipeline.md", "with more than 10 % of its stamp", star_quality.MAX_OUTSIDE, 0.1),
    ("pipeline.md", "more than 2 % of its light", star_quality.FAINTEST_NEIGHBOUR, 0.02),
    ("pipeline.md", "more than 30 % of its core", star_quality.MAX_CORE_COVERED, 0.3),
    ("pipeline.md", "fewer than three other stars are left", star_quality.FEWEST_STARS, 3),
    ("pipeline.md", "by 20 % and by 5 standard", (star_quality.WIDER, star_quality.SIGMA), (1.2, 5.0)),
    ("pipeline.md", "by 0.15 in ellipticity", star_quality.ROUNDNESS, 0.15),
    ("pipeline.md", "signal-to-noise of 20 or more", star_choice.MIN_SIGNAL_TO_NOISE, 20.0),
    ("numerics.md", "usual scatter, at least 3 %", star_quality._FIELD_VARIATION, 0.03),
    ("numerics.md", "more than 3 % of their light", star_curves.LEAST_MISFIT, 0.03),
    ("numerics.md", "twice the other stars' or more", star_curves.TIMES_CHI2, 2.0),
    ("project_file.md", "signal-to-noise 20 and more", star_choice.MIN_SIGNAL_TO_NOISE, 20.0),
    ("project_file.md", "at least three", star_choice.FEWEST, 3),
]


@pytest.mark.parametrize(("page", "phrase", "value", "quoted"), QUOTED, ids=[q[1] for q in QUOTED])
def test_constants(page: str, phrase: str, value: object, quoted: object) -> None:
    assert phrase in re.sub(r"\s+", " ", pages.read(page))
    assert value == quoted
