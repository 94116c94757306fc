from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest

from lcframework.types import TimeReference
from plugins_builtin.shared.option_checks import above, at_least, not_negative, one_of, positive, positive_or_zero


@pytest.mark.parametrize(
    ("check", "good", "bad", "words"),
    [
        (above(2.0), 2.1, 2.0, "option must be greater than 2, got 2.0"),
        (at_least(2.0), 2.0, 1.9, "option must be at least 2, got 1.9"),
        (positive, 1e-9, 0.0, "option must be positive, got 0.0"),
        (not_negative, 0.0, -1e-9, "option must not be negative, got -1e-09"),
        (one_of("a", "b"), "b", "c", "option must be one of 'a', 'b', got 'c'"),
        (one_of("a", "b", empty="to guess"), "", "c", "option must be one of 'a', 'b', or '' to guess, got 'c'"),
        (one_of("a"), "a", "", "option must be one of 'a', got ''"),
        (one_of(*TimeReference), "end", "late", "option must be one of 'start', 'mid', 'end', got 'late'"),
        (positive_or_zero("to guess"), 0.0, -1.0, "option must be a positive number, or 0 to guess; got -1.0"),
        (positive_or_zero("to guess"), 2.0, np.inf, "got inf"),
        *(
            (check, 3.0, np.nan, "got nan")
            for check in (above(2.0), at_least(2.0), positive, not_negative, positive_or_zero("to guess"))
        ),
    ],
)
def test_what_is_let_through(check: Any, good: Any, bad: Any, words: str):
    options = attrs.make_class("Options", {"option": attrs.field(validator=check)})
    assert options(good).option == good
    with pytest.raises(ValueError, match=words):
        options(bad)
