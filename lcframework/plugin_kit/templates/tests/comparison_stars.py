import numpy as np

from lcframework.plugin_kit.templates.comparison_stars import PluginClass
from lcframework.testing import check_comparison_stars
from lcframework.types import CandidateStars


def test_it_keeps_the_contract() -> None:
    check_comparison_stars(PluginClass())


def test_bright_stars_come_first_and_variable_ones_last() -> None:
    three = np.array([1.0, 2.0, 3.0])
    stars = CandidateStars(three, np.array([50.0, 90.0, 70.0]), three, three, np.array([False, True, False]))
    assert PluginClass().choose(stars, 2).tolist() == [2, 0]
