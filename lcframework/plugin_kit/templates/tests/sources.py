from lcframework.plugin_kit.templates.sources import PluginClass
from lcframework.testing import check_source_extractor


def test_it_finds_the_stars_of_simulated_frames() -> None:
    check_source_extractor(PluginClass())
