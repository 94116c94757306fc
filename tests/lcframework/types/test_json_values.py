"""Values as JSON has them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from lcframework.types.json_values import finite_or_none, json_value


def test_what_json_has_stays() -> None:
    value = {"a": [1, 2.5, True, None, "text"], "b": {"c": []}}
    assert json_value(value) == value
    assert json_value({3: (1, 2)}) == {"3": [1, 2]}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_what_becomes_of_values_that_are_not_finite(value: float) -> None:
    assert finite_or_none(value) is None
    assert json_value({"a": [value, 1.0]}) == {"a": [None, 1.0]}
    assert json_value((value,), not_finite=str) == [str(value)]
    json.dumps(json_value([value]), allow_nan=False)


def test_what_becomes_of_all_else() -> None:
    assert json_value([Path("a/b")]) == ["a/b"]
    assert json_value({"a": {1, 2}}, other=sorted) == {"a": [1, 2]}
