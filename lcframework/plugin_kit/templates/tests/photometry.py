from lcframework.plugin_kit.templates.photometry import PluginClass
from lcframework.testing import check_photometry


def test_it_measures_simulated_stars_within_its_errors() -> None:
    check_photometry(PluginClass())
