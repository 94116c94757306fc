from pathlib import Path

from click.testing import CliRunner

from lcframework.plugin_kit.templates.command import command
from lcframework.testing import check_command, example_project


def test_it_explains_itself() -> None:
    check_command(command, "plugin_name")


def test_it_prints_magnitudes(tmp_path: Path) -> None:
    ended = CliRunner().invoke(command, [str(example_project(tmp_path / "project")), "--roi", "EXAMPLE"])
    assert ended.exit_code == 0, ended.output
    assert ended.output.startswith("EXAMPLE A: 18.")
