"""Light curves for exporters."""

from __future__ import annotations

import pytest
from exported_curves import curve_of


@pytest.fixture
def curve():
    return curve_of()


@pytest.fixture
def star():
    """Return the light curve of a single star in V."""
    return curve_of("V", sources=("A",))
