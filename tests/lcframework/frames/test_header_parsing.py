"""Who reads a frame's header, and what is done with the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from astropy.io import fits

from lcframework.config.toolbox import Tool
from lcframework.frames.header_parsing import header_info, parse_header
from lcframework.types import HeaderInfo, LcfError, UnusableInput

PATH = Path("night1.fits")


@attrs.frozen
class Parser:
    answer: Any

    def parse(self, header: fits.Header, path: Path) -> Any:
        return self.answer


def tools(**answers):
    return tuple(Tool("header", name, Parser(answer), 1) for name, answer in answers.items())


GOOD = HeaderInfo(10.0, 2.0, 60000.0, read_noise=5.0)


def test_specific_parser_comes_before_the_generic_one():
    special = attrs.evolve(GOOD, instrument="special")
    assert parse_header(tools(fits=GOOD, mine=special), fits.Header(), PATH).instrument == "special"
    assert parse_header(tools(fits=GOOD, mine=None), fits.Header(), PATH) == GOOD


def test_two_claims_are_named():
    with pytest.raises(UnusableInput, match=r'"one" and "two" both claim night1\.fits'):
        parse_header(tools(one=GOOD, two=GOOD, fits=GOOD), fits.Header(), PATH)


def test_nobody_knows_the_frame():
    with pytest.raises(UnusableInput, match=r"no header parser knows night1\.fits \(asked: mine, fits\)"):
        parse_header(tools(mine=None, fits=None), fits.Header(), PATH)


def test_documented_dictionary():
    answer = {"exptime": 10, "gain": 2.0, "mjd": 60000, "read_noise": 5}
    assert parse_header(tools(mine=answer), fits.Header(), PATH) == GOOD


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"exptime": 10.0, "gain": 2.0}, "without mjd"),
        ({"exptime": 10.0, "gain": 2.0, "mjd": 6e4, "filter": "r"}, "unknown filter"),
        ({"exptime": 0.0, "gain": 2.0, "mjd": 6e4}, "exptime must be a positive number"),
        ({"exptime": 10.0, "gain": "high", "mjd": 6e4}, "could not convert"),
        ({"exptime": 10.0, "gain": 2.0, "mjd": float("nan")}, "mjd must be a finite number"),
        ({"exptime": 10.0, "gain": 2.0, "mjd": 6e4, "time_reference": "begin"}, "begin"),
    ],
)
def test_dictionaries_that_make_no_sense(answer, words):
    with pytest.raises(UnusableInput, match=words):
        header_info(answer, "mine")


def test_answer_of_another_kind():
    with pytest.raises(LcfError, match="mine returned a tuple"):
        header_info((10.0, 2.0), "mine")


def test_names_serve_as_keys():
    odd = attrs.evolve(GOOD, instrument="VST: OmegaCAM", band=None)
    info = parse_header(tools(mine=odd), fits.Header(), PATH)
    assert (info.instrument, info.band) == ("VST- OmegaCAM", "")
