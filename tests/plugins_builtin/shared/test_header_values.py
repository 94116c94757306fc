from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from plugins_builtin.shared.header_values import as_number, first_text, text_of, value_of


@pytest.fixture
def header() -> fits.Header:
    made = fits.Header({"GAIN": 1.5, "FILTER": "  r ", "BLANK": "   ", "FLAG": True})
    made["UNDEF"] = fits.card.Undefined()
    made.append(fits.Card.fromstring("DAMAGED = 'no end"), end=True)
    return made


def test_values_that_are_not_there(header: fits.Header) -> None:
    assert value_of(header, "GAIN") == 1.5
    for keyword in ("NONE", "UNDEF", "DAMAGED"):
        assert value_of(header, keyword) is None
        assert text_of(header, keyword) == ""


def test_the_first_text(header: fits.Header) -> None:
    assert text_of(header, "FILTER") == "r"
    assert first_text(header, ("NONE", "BLANK", "UNDEF", "FILTER", "GAIN")) == "r"
    assert first_text(header, ("NONE", "BLANK")) == ""


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (" 2.5 ", 2.5),
        ("1e3", 1000.0),
        (True, None),
        ("ten", None),
        (np.nan, None),
        ("inf", None),
        (None, None),
    ],
)
def test_numbers(value: object, number: float | None) -> None:
    assert as_number(value) == number
