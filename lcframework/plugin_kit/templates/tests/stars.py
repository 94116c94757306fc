from lcframework.plugin_kit.templates.stars import PluginClass
from lcframework.testing import check_star_catalog
from lcframework.types import CatalogLimits, Region


def test_it_knows_the_stars_of_a_field() -> None:
    # CHECK: a place where the catalogue has stars, and which of them lie within the limits.
    region = Region(150.0, -28.0, 0.1)
    check_star_catalog(PluginClass(), region, CatalogLimits(magnitude=(14.0, 16.0)), {"1", "2"})
