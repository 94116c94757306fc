"""Cones in ADQL: services take right ascensions from 0 to 360 degrees alone."""

from __future__ import annotations

import re

import pytest

from lcframework.types import Region
from plugins_builtin.services.adql import in_cone


@pytest.mark.parametrize(
    ("ra", "expected"), [(359.5, 359.5), (360.25, 0.25), (-0.25, 359.75), (0.0, 0.0), (360.0, 0.0)]
)
def test_right_ascension_of_a_cone_is_wrapped(ra, expected):
    condition = in_cone("ra", "dec", Region(ra, -12.5, 0.05))
    assert condition.startswith("1 = CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', ")
    numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", condition.partition("CIRCLE")[2])]
    assert numbers == pytest.approx([expected, -12.5, 0.05], abs=1e-12)
