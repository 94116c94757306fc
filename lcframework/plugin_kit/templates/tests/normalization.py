from lcframework.plugin_kit.templates.normalization import PluginClass
from lcframework.testing import check_normalization


def test_it_finds_the_transparency_of_simulated_frames() -> None:
    check_normalization(PluginClass())
