from lcframework.plugin_kit.templates.cosmics import PluginClass
from lcframework.testing import check_cosmic_masker


def test_it_finds_tracks_and_spares_stars() -> None:
    check_cosmic_masker(PluginClass())
