"""Discs for stars and regions: both or neither, by one option, whose section has the name of another option."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lcframework.config.project_file import ConfigError, load
from lcframework.config.toolbox import select, with_decisions
from lcframework.plugins import Plugins
from lcframework.roi.choosing_model import discs_of
from lcframework.types import Discs

REGION = "[roi.J0248]\nra = 42.2\ndec = 19.2\n"
STARS, REGIONS = '[photometry]\nplugin = "aperture"\n', '[roi_model]\nplugin = "aperture"\n'
RADIUS = "photometry.aperture.radius"


def installed() -> Plugins:
    """Return what is installed, with the plugins that are tried here."""
    found = [(p.name, p.origin, p.module) for p in Plugins.installed().plugins]
    ours = ["plugins_builtin.photometry.aperture", "plugins_builtin.roi_models.aperture"]
    added = [(name, "here", name) for name in ours if name not in {module for *_, module in found}]
    return Plugins([(name, origin, lambda m=module: import_module(m)) for name, origin, module in [*found, *added]])


def selected(folder: Path, text: str) -> Any:
    path = folder / "project.toml"
    path.write_text(REGION + text)
    return select(load(path), installed())


def test_stars_and_regions_are_measured_in_the_same_discs(tmp_path: Path) -> None:
    toolbox = selected(tmp_path, STARS + "[photometry.aperture]\nradius = 2.0\nsky = [3.0, 4]\n" + REGIONS)
    assert discs_of(toolbox, "") == Discs(2.0, (3.0, 4.0))
    assert discs_of(selected(tmp_path, ""), "") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (STARS, r'but \[roi_model\] plugin = "starred" measures regions by the PSF.*write \[roi_model\]'),
        (REGIONS, r'but \[roi_model\] plugin = "aperture" measures regions in discs.*write \[photometry\]'),
        (STARS + '[roi_model]\nplugin = "joint"', "holds for fluxes of one kind"),
        (STARS + "aperture = 4\n" + REGIONS, "measures discs of its own alone; set aperture = 0"),
        (STARS + "[photometry.aperture]\nradius = 20.0\n" + REGIONS, "radius must lie between 0.5 and 10"),
        (STARS + "[photometry.aperture]\nradios = 2.0\n" + REGIONS, 'did you mean "radius"'),
        ('[instrument.cam.photometry]\nplugin = "aperture"', "measures stars in discs"),
    ],
)
def test_one_without_the_other_is_refused_with_the_lines_to_write(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        selected(tmp_path, text)


def test_without_a_model_of_regions_stars_may_have_discs(tmp_path: Path) -> None:
    assert discs_of(selected(tmp_path, STARS + '[roi_model]\nplugin = "none"'), "") == Discs(1.5)


def test_options_of_the_plugin_stay_where_another_is_selected(tmp_path: Path) -> None:
    """So that plugins are swapped by a word; `aperture` is an option of the section, too."""
    toolbox = selected(tmp_path, "[photometry.aperture]\nradius = 2.0\n")
    assert toolbox.tool("photometry").name == "starred"
    assert toolbox.config.photometry.aperture == 0.0


def test_what_frames_decided_about_discs_leaves_another_photometry_alone(tmp_path: Path) -> None:
    decisions = {"": {RADIUS: 2.5}}
    in_discs = with_decisions(selected(tmp_path, STARS + REGIONS), installed(), decisions)
    assert discs_of(in_discs, "") == Discs(2.5)
    stated = selected(tmp_path, STARS + "[photometry.aperture]\nradius = 2.0\n" + REGIONS)
    assert discs_of(with_decisions(stated, installed(), decisions), "") == Discs(2.0)
    with_aperture = selected(tmp_path, "[photometry]\naperture = 5.0\n")
    assert with_decisions(with_aperture, installed(), decisions).config.photometry.aperture == 5.0
