from pathlib import Path

from lcframework import Project
from lcframework.plugin_kit.templates.report_panel import PluginClass
from lcframework.testing import check_report_panel, example_project


def test_it_is_a_section_of_the_report() -> None:
    check_report_panel(PluginClass)


def test_it_counts_epochs(tmp_path: Path) -> None:
    text = PluginClass().render(Project.open(example_project(tmp_path / "project")))
    assert ">EXAMPLE<" in text
    assert ">4<" in text
