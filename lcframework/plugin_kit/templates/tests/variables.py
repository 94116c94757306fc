from pathlib import Path

from lcframework.plugin_kit.templates.variables import PluginClass
from lcframework.testing import check_variable_catalog
from lcframework.types import Region


def test_it_finds_what_is_in_the_region(tmp_path: Path) -> None:
    path = tmp_path / "variables.txt"
    path.write_text("RR-Example 150.01 -28.0 RRAB\nFar-Away 10.0 5.0 M\n")
    check_variable_catalog(PluginClass(path=path), Region(150.0, -28.0, 0.1), expected={"RR-Example"})
