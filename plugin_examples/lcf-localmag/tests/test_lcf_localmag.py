from __future__ import annotations

from importlib.metadata import entry_points

import numpy as np
import pytest
from astropy.table import Table

from lcframework.testing import check_calibration_survey
from lcframework.types import MAGNITUDES, UnusableInput

lcf_localmag = pytest.importorskip("lcf_localmag", reason="not installed: pip install plugin_examples/lcf-localmag")


def stars() -> Table:
    return Table({"source_id": ["a", "b", "c"], "magnitude": [12.0, np.nan, 14.5]})


def test_magnitudes():
    found = lcf_localmag.LocalMagnitudes("clear", offset=-0.3, error=0.1, system="AB").magnitudes(stars(), "clear")
    MAGNITUDES.check(found, "localmag")
    assert list(found["source_id"]) == ["a", "c"]
    np.testing.assert_allclose(np.asarray(found["mag"]), [11.7, 14.2])
    assert list(found["mag_err"]) == [0.1, 0.1]
    assert found.meta["system"] == "AB"


def test_it_fulfils_the_contract():
    check_calibration_survey(lcf_localmag.LocalMagnitudes())  # as `lcf plugins check` does
    check_calibration_survey(lcf_localmag.LocalMagnitudes(band="clear"), band="clear")


def test_mistakes():
    with pytest.raises(UnusableInput, match="'clear' alone, not 'r'"):
        lcf_localmag.LocalMagnitudes(band="clear").magnitudes(stars(), "r")
    with pytest.raises(ValueError, match="error must be positive"):
        lcf_localmag.LocalMagnitudes(error=0.0)
    with pytest.raises(ValueError, match="system"):
        lcf_localmag.LocalMagnitudes(system="ab")


def test_it_is_announced():
    assert any(point.load() is lcf_localmag for point in entry_points(group="lcframework", name="survey-localmag"))
