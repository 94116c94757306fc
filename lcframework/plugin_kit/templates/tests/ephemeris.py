import numpy as np

from lcframework.plugin_kit.templates.ephemeris import PluginClass
from lcframework.testing import check_ephemeris
from lcframework.types import Moments


def test_it_keeps_the_contract() -> None:
    check_ephemeris(PluginClass())


def test_a_quarter_of_the_period_later_it_is_east() -> None:
    times = Moments(np.array([60000.0, 60091.3125]))
    ra, dec = PluginClass(radius=3.6).positions(150.0, 60.0, times)
    np.testing.assert_allclose(dec - 60.0, [0.001, 0.0], atol=1e-7)
    np.testing.assert_allclose((ra - 150.0) * np.cos(np.radians(60.0)), [0.0, 0.001], atol=1e-7)
