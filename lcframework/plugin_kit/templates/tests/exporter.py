from pathlib import Path

from lcframework.plugin_kit.templates.exporter import PluginClass
from lcframework.testing import check_exporter


def test_it_writes_a_light_curve(tmp_path: Path) -> None:
    path = tmp_path / "curve.txt"
    check_exporter(PluginClass(), path)
    lines = path.read_text().splitlines()
    assert lines[0] == "# bjd_tdb A A_error B B_error"
    assert len(lines) == 5
