"""Filters under names of keywords that nobody listed."""

from __future__ import annotations

import pytest
from astropy.io import fits

from plugins_builtin.shared.filter_names import filter_name
from plugins_builtin.shared.frame_kinds import kind_of_frame
from plugins_builtin.shared.header_sections import header_overscan

WORDS = {"bias": ["bias", "zero"], "dark": ["dark"], "flat": ["flat"]}


@pytest.mark.parametrize(
    ("cards", "band"),
    [
        ({"FILTNAME": "VR", "TELFILT": 1}, "VR"),
        ({"INSFILTE": "SDSS_R"}, "SDSS_R"),
        ({"FILTER": 2, "FILTNAME": "R"}, "R"),  # a wheel's position beside its name
        ({"FILTER1": "Open", "INSFILT2": "g"}, "g"),
        ({"FILTER": "V", "INSFILTE": "Open"}, "V"),
        ({"FILTSTAT": "OK", "FILTPOS": 3, "FILTWAVE": "550 nm"}, ""),
        ({"FILTNAME": "Open"}, "Open"),
        ({"TELFILT": True}, ""),
        ({"PASSBAND": "B"}, "B"),
        ({"CCDFLTID": "V", "CCDFLTN": 3, "FLTCORR": "PERFORM"}, "V"),
        ({"FLT_ID": "V Johnson"}, "V Johnson"),
        ({"ALFLTNM": "Open", "ALFLTID": 76, "FBFLTNM": "V_Bes 530_80"}, "V_Bes 530_80"),
        ({"WFFBAND": "g"}, "g"),
    ],
)  # fmt: skip
def test_unlisted_filters(cards, band):
    assert filter_name(fits.Header(cards)) == (band, ())


def test_two_unlisted_filters_that_differ_are_doubted():
    band, doubts = filter_name(fits.Header({"INSFILTE": "R", "TELFILTN": "B"}))
    assert band == "R"
    assert [d.kind for d in doubts] == ["bands_disagree"]


@pytest.mark.parametrize(
    ("cards", "kind"),
    [
        ({"IMGTYPE": "Bias"}, "bias"), ({"FRAMETYP": "flat"}, "flat"), ({"OBSCLASS": "dark"}, "dark"),
        ({"IMGTYPE": "science"}, "light"), ({"DATATYPE": "int16"}, "light"), ({"OBJECT": "flat"}, ""),
        ({"IMAGETYP": "object", "IMGTYPE": "flat"}, "light"), ({"CTYPE1": "flat"}, ""),
    ],
)  # fmt: skip
def test_unlisted_kinds(cards, kind):
    assert kind_of_frame(fits.Header(cards), ["IMAGETYP", "OBSTYPE"], WORDS) == kind


@pytest.mark.parametrize(
    ("cards", "section"),
    [
        ({"BIASSEC": "[97:100,1:80]", "BIAS01": "[97:100, 1:80]"}, "[97:100,1:80]"),
        ({"OVERSCAN": "[1:100,75:80]"}, "[1:100,75:80]"),
        ({"BIASSEC": "[2050:2100,1:80]"}, ""),  # of the image before it was trimmed
        ({"BIASSEC": "[1:100,1:80]"}, ""),  # all of it
        ({"BIAS01": "[1:4,1:80]", "BIAS02": "[97:100,1:80]"}, ""),  # two amplifiers
        ({"BIASFILE": "bias.fits"}, ""),
    ],
)  # fmt: skip
def test_overscan_of_the_header(cards, section):
    assert header_overscan(fits.Header(cards), (80, 100)) == section
