"""The survey's band for a filter: the user's, else by the filter's name, else a usual one with a doubt."""

from __future__ import annotations

import pytest

from lcframework.config.sections import Calibration
from lcframework.config.survey_bands import is_another_band, survey_band


@pytest.mark.parametrize(
    ("band", "survey"),
    [("V", "V"), ("Johnson_V", "V"), ("r", "r_sdss"), ("r'", "r_sdss"), ("SDSS_i", "i_sdss"), ("R", "R"), ("Rc", "R"),
     ("Bessell I", "Ic"), ("sloan gp", "g_sdss"), ("Clear", ""), ("VR", ""), ("Ha", ""), ("", "")],
)  # fmt: skip
def test_bands_of_the_survey(band, survey):
    assert survey_band(band) == survey


@pytest.mark.parametrize(
    ("band", "another"),
    [("B", True), ("Johnson B", True), ("u'", True), ("z", True), ("Ks", True),
     ("Clear", False), ("Ha", False), ("", False), ("V", False)],
)  # fmt: skip
def test_bands_that_the_survey_lacks(band, another):
    assert is_another_band(band) is another


def test_the_user_then_the_name_then_the_usual_one():
    by_name = Calibration(bands={"B": "B_T"})
    assert [by_name.band_of(band) for band in ("V", "B", "Clear")] == ["V", "B_T", "r_sdss"]
    assert [by_name.guesses(band) for band in ("V", "B", "Clear")] == [False, False, True]
    chosen = Calibration(band="i_sdss")
    assert [chosen.band_of("V"), chosen.guesses("V"), chosen.guesses("")] == ["i_sdss", False, False]
