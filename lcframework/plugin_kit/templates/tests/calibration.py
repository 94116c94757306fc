import numpy as np
import pytest
from astropy.table import Table

from lcframework.plugin_kit.templates.calibration import BANDS, PluginClass
from lcframework.testing import check_calibration_survey


@pytest.mark.parametrize("band", BANDS)
def test_it_keeps_the_contract(band: str) -> None:
    check_calibration_survey(PluginClass(), band=band)


def test_a_star_of_known_magnitude() -> None:
    star = Table({"source_id": ["1"], "magnitude": [15.0], "bp": [15.6], "rp": [14.6]})
    answer = PluginClass(zero=0.2, slope=0.5).magnitudes(star, BANDS[0])
    assert np.allclose(answer["mag"], 15.7)
