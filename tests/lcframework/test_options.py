from __future__ import annotations

import re
from typing import Any

import attrs
import numpy as np
import pytest

from lcframework.options import (
    above,
    at_least,
    closest,
    mapping_of,
    not_negative,
    one_of,
    ordered,
    positive,
    positive_or_zero,
    some_of,
    true_or_false,
    web_address,
    whole_number,
    within,
)
from lcframework.types import TimeReference

NUMBERS = (
    above(2.0),
    above(2.0, finite=True),
    at_least(2.0),
    at_least(2.0, or_zero="to clip nothing"),
    positive,
    not_negative,
    positive_or_zero("to guess"),
    within(0.0, 5.0),
)


def options(check: Any) -> Any:
    return attrs.make_class("Options", {"option": attrs.field(validator=check)})


@pytest.mark.parametrize(
    ("check", "good", "bad", "words"),
    [
        (above(2.0), 2.1, 2.0, "option must be greater than 2, got 2.0"),
        (above(2.0), np.inf, -np.inf, "got -inf"),
        (above(2.0, finite=True), 2.1, np.inf, "option must be a number above 2, got inf"),
        (at_least(2.0), 2.0, 1.9, "option must be at least 2, got 1.9"),
        (at_least(2.0, or_zero="to clip nothing"), 0.0, 1.9, "must be at least 2, or 0 to clip nothing; got 1.9"),
        (positive, 1e-9, 0.0, "option must be positive, got 0.0"),
        (not_negative, 0.0, -1e-9, "option must not be negative, got -1e-09"),
        (within(1.0, 2.5), 2.5, 2.6, "option must lie between 1 and 2.5, got 2.6"),
        (within(0, 1, "0: none; 1: all"), 0, -1, "option must lie between 0 and 1 (0: none; 1: all), got -1"),
        (whole_number(), 0, -1, "option must be a whole number, 0 or more, got -1"),
        (whole_number(1), np.int64(7), 1.0, "option must be a whole number, 1 or more, got 1.0"),
        (whole_number(), 1, True, "got True"),
        (whole_number(0, 3, "0: none"), 3, 4, "option must be 0 to 3, a whole number (0: none), got 4"),
        (ordered, (1.0, 2.0), (2.0, 2.0), "option: the first value must be below the second, got [2.0, 2.0]"),
        (ordered, (-np.inf, np.inf), (np.nan, 2.0), "got [nan, 2.0]"),
        (true_or_false, False, 0, "option must be true or false, got 0"),
        (one_of("a", "b"), "b", "c", "option must be one of 'a', 'b', got 'c'"),
        (one_of("a", "b", empty="to guess"), "", "c", "option must be one of 'a', 'b', or '' to guess, got 'c'"),
        (one_of("a"), "a", "", "option must be one of 'a', got ''"),
        (one_of(*TimeReference), "end", "late", "option must be one of 'start', 'mid', 'end', got 'late'"),
        (some_of("a", "b"), ["b", "a"], ["a", "c"], "option must be a list of one or more of 'a', 'b', got ['a', 'c']"),
        (some_of("a", "b"), ["b"], [], "got []"),
        (mapping_of(["dec"], "a column"), {"dec": "DE"}, {"Decl": "x"}, "maps 'Decl', which is unknown; did you mean"),
        (mapping_of(["ra", "dec"]), {}, {"qx": "x"}, "option maps 'qx', which is unknown. Known: ra, dec"),
        (mapping_of(["ra"], "a column"), {"ra": "RA"}, {"ra": " "}, "option: ra must name a column, got ' '"),
        (web_address(), "https://tap.org/tap", "tap.org", "option must be an http:// or https:// address, got"),
        (web_address(empty=True), "", "ftp://tap.org", "got 'ftp://tap.org'"),
        (web_address(), "http://localhost:80", "", "got ''"),
        (positive_or_zero("to guess"), 0.0, -1.0, "option must be a positive number, or 0 to guess; got -1.0"),
        (positive_or_zero("to guess"), 2.0, np.inf, "got inf"),
        *((check, 3.0, np.nan, "got nan") for check in NUMBERS),
    ],
)
def test_what_is_let_through(check: Any, good: Any, bad: Any, words: str):
    assert options(check)(good).option == good
    with pytest.raises(ValueError, match=re.escape(words)):
        options(check)(bad)


def test_the_closest_word():
    assert closest("radus", ["magnitude", "radius"]) == "radius"
    assert closest("DEC_J", ["RA", "Dec"]) == "Dec"
    assert closest("xyz", ["radius"]) is None
    assert closest("radius", []) is None
