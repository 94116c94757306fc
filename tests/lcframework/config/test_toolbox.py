"""What selecting plugins refuses beyond what each plugin says itself."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from lcframework.config.project_file import ConfigError, load
from lcframework.config.toolbox import select
from lcframework.hookspecs import hookimpl
from lcframework.plugins import Plugins
from lcframework.provenance import counted
from lcframework.types import Cutouts, PointSources

REGION = "[roi.J0248]\nra = 42.2\ndec = 19.2\n"


@attrs.frozen
class PsfFluxesAlone:
    """A ROI model that knows nothing of apertures."""

    def fit(self, cutouts: Cutouts, point_sources: PointSources) -> Any:
        raise NotImplementedError


@hookimpl
def lcf_roi_models() -> dict[str, type[Any]]:
    return {"plain": PsfFluxesAlone}


def selected(folder: Path, text: str, *more: tuple[str, str, Any]) -> Any:
    path = folder / "project.toml"
    path.write_text(REGION + text)
    installed = [(p.name, p.origin, lambda p=p: import_module(p.module)) for p in Plugins.installed().plugins]
    return select(load(path), Plugins([*installed, *more]))


def test_an_aperture_reaches_stars_and_regions(tmp_path):
    toolbox = selected(tmp_path, "[photometry]\naperture = 4\n")
    assert toolbox.config.photometry.aperture == 4
    assert counted(toolbox.identity("photometry"))["aperture"] == 4


def test_a_plugin_called_like_an_option_keeps_both_in_the_identity(tmp_path):
    text = '[photometry]\nplugin = "aperture"\n[photometry.aperture]\nradius = {}\n[roi_model]\nplugin = "aperture"\n'
    first, other = (selected(tmp_path, text.format(radius)).identity("photometry") for radius in (1.5, 2.5))
    assert first["aperture"].value == other["aperture"].value == 0.0
    assert counted(first) != counted(other)


def test_an_aperture_that_a_plugin_would_not_know_of_is_refused(tmp_path):
    plain = ("plain", "here", lambda: SimpleNamespace(lcf_roi_models=lcf_roi_models, __name__="plain"))
    text = '[photometry]\naperture = {}\n[roi_model]\nplugin = "plain"\n'
    selected(tmp_path, text.format(0), plain)
    with pytest.raises(ConfigError, match=r'\[roi_model\] plugin = "plain" measures PSF fluxes alone'):
        selected(tmp_path, text.format(4), plain)


def test_an_aperture_must_fit_in_the_stamps(tmp_path):
    with pytest.raises(ConfigError, match="star_size = 24 and roi_size = 32: enlarge these"):
        selected(tmp_path, "[photometry]\naperture = 12\n")


def test_a_region_has_the_ephemeris_that_it_names(tmp_path):
    text = """ephemeris = "proper_motion"
[roi.J0248.proper_motion]
pmra = 5.0
[roi.J0248.point_sources]
A = [42.2, 19.2]
[roi.STAYS]
ra = 1.0
dec = 2.0
"""
    toolbox = selected(tmp_path, text)
    assert toolbox.config.roi["J0248"].point_sources == {"A": (42.2, 19.2)}
    moving = toolbox.ephemeris("J0248")
    assert moving.instance.pmra == 5.0
    assert str(moving.source).startswith("[roi.J0248] proper_motion")
    assert toolbox.ephemeris("STAYS") is None
    assert toolbox.tool("roi.STAYS").name == "fixed"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('ephemeris = "propermotion"\n', r'line 4: \[roi.J0248\] ephemeris: .*did you mean "proper_motion"'),
        ("[roi.J0248.point_source]\nA = [1.0, 2.0]\n", r'has no option "point_source"; did you mean "point_sources"'),
        ("[roi.J0248.moons]\nA = [1.0, 2.0]\n", r'no installed plugin offers "moons" for lcf_ephemerides'),
        ('[roi.J0248.table]\npat = "x"\n', r'line 5: \[roi.J0248.table\] has no option "pat"; did you mean "path"'),
        ('ephemeris = "proper_motion"\nproper_motion = { ref_epoch = 1.0 }\n', "ref_epoch"),
    ],
)
def test_what_is_wrong_with_an_ephemeris_is_said(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        selected(tmp_path, text)
