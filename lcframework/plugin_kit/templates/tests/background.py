from lcframework.plugin_kit.templates.background import PluginClass
from lcframework.testing import check_background_estimator


def test_it_finds_the_sky_of_simulated_frames() -> None:
    check_background_estimator(PluginClass())
