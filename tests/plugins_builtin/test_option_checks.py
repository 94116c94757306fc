from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest

from plugins_builtin.option_checks import above, not_negative, one_of, positive


@pytest.mark.parametrize(
    ("check", "good", "bad", "words"),
    [
        (above(2.0), 2.1, 2.0, "option must be greater than 2, got 2.0"),
        (above(2.0, inclusive=True), 2.0, 1.9, "option must be at least 2, got 1.9"),
        (positive, 1e-9, 0.0, "option must be positive, got 0.0"),
        (not_negative, 0.0, -1e-9, "option must not be negative, got -1e-09"),
        (one_of("a", "b"), "b", "c", "option must be one of 'a', 'b', got 'c'"),
        *((check, 3.0, np.nan, "got nan") for check in (above(2.0), above(2.0, True), positive, not_negative)),
    ],
)
def test_what_is_let_through(check: Any, good: Any, bad: Any, words: str):
    options = attrs.make_class("Options", {"option": attrs.field(validator=check)})
    assert options(good).option == good
    with pytest.raises(ValueError, match=words):
        options(bad)
