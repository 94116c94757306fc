"""Every built-in plugin fulfils the contract of its seam."""

from __future__ import annotations

import importlib
import importlib.util
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.table import Table

import lcframework.testing as suite
from lcframework import Project
from lcframework.cli.main import COMMANDS
from lcframework.cli.progress import BarProgress, PlainProgress, Silent
from lcframework.report.panels import builtin_panels
from lcframework.report.results import read_results
from lcframework.stages import CHAIN
from lcframework.testing.conformance import scenes
from lcframework.testing.conformance.imports import EXAMPLE_MJD, example_header
from lcframework.types import CatalogLimits, NeedMissing, Region


def builtins(hook: str) -> list[Any]:
    """Return the classes that the built-in plugins give for a hook, as pytest parameters named after them."""
    found = {}
    for point in entry_points(group="lcframework"):
        if point.value.startswith("plugins_builtin.") and importlib.util.find_spec(point.value) is not None:
            answer = getattr(importlib.import_module(point.value), hook, None)
            found.update(answer() if answer is not None else {})
    slow = {"starred-reference"}
    return [
        pytest.param(kind, id=name, marks=[pytest.mark.slow] if name in slow else [])
        for name, kind in sorted(found.items())
    ]


def slow(parameters: list[Any]) -> list[Any]:
    return [pytest.param(*p.values, id=p.id, marks=[pytest.mark.slow]) for p in parameters]


PARSER = """
def parse_header(header):
    from astropy.time import Time
    return {'exptime': header['exptime'], 'gain': header['gain'], 'mjd': Time(header['date-obs']).mjd}
"""


def field_file(folder: Path) -> tuple[Path, scenes.Field]:
    """Write a field over RA 0 as the table that a user would bring."""
    field = scenes.field(359.98, 62.0)
    table = field.stars.copy()
    for ours, theirs in {"magnitude": "g_mean", "bp": "bp_mean", "rp": "rp_mean"}.items():
        table.rename_column(ours, f"phot_{theirs}_mag")
    table["r_mag"] = table["phot_g_mean_mag"] - 0.2
    table["r_mag_err"] = 0.02
    path = folder / "stars.ecsv"
    table.write(path)
    return path, field


@pytest.mark.parametrize("kind", builtins("lcf_header_parsers"))
def test_header_parser(kind: type[Any], tmp_path: Path) -> None:
    plugin = kind()
    if hasattr(plugin, "path"):
        (tmp_path / "parse_header.py").write_text(PARSER)
        plugin = kind(path=tmp_path / "parse_header.py")
    expected = dict(exptime=120.0, gain=2.5, mjd_start=EXAMPLE_MJD)
    suite.check_header_parser(plugin, example_header(), expected=expected)


@pytest.mark.parametrize("kind", builtins("lcf_reductions"))
def test_reduction(kind: type[Any]) -> None:
    pytest.importorskip("ccdproc")
    suite.check_reduction(kind())


@pytest.mark.parametrize("kind", builtins("lcf_background_estimators"))
def test_background_estimator(kind: type[Any]) -> None:
    suite.check_background_estimator(kind())


@pytest.mark.parametrize("kind", builtins("lcf_setting_rules"))
def test_setting_rule(kind: type[Any]) -> None:
    assert suite.check_setting_rule(kind())


@pytest.mark.parametrize("kind", builtins("lcf_source_extractors"))
def test_source_extractor(kind: type[Any]) -> None:
    suite.check_source_extractor(kind())


@pytest.mark.parametrize("kind", builtins("lcf_cosmic_maskers"))
def test_cosmic_masker(kind: type[Any]) -> None:
    suite.check_cosmic_masker(kind())


@pytest.mark.parametrize("kind", builtins("lcf_comparison_stars"))
def test_comparison_stars(kind: type[Any]) -> None:
    suite.check_comparison_stars(kind())


@pytest.mark.parametrize("kind", builtins("lcf_ephemerides"))
def test_ephemeris(kind: type[Any], tmp_path: Path) -> None:
    if "path" in attrs.fields_dict(kind):
        days = np.arange(0.0, 1.0, 0.1)
        path = tmp_path / "track.ecsv"
        Table({"mjd_utc": 60310 + days, "ra": 359.9 + days, "dec": 62.0 - days}).write(path)
        suite.check_ephemeris(kind(path=path), outside=[60309.99])
    else:
        suite.check_ephemeris(kind())


@pytest.mark.parametrize("kind", builtins("lcf_plate_solvers"))
def test_plate_solver(kind: type[Any]) -> None:
    plugin = kind()
    needs_more = {"command", "index_dir", "server", "url"} & {f.name for f in kind.__attrs_attrs__}
    if needs_more:
        # No index file has the invented stars: such a solver has tests of its own, with fields that one has.
        suite.check_plugin_class(plugin)
        return
    suite.check_plate_solver(plugin)


@pytest.mark.parametrize("kind", builtins("lcf_star_catalogs"))
def test_star_catalog(kind: type[Any], tmp_path: Path) -> None:
    if not hasattr(kind(), "path"):
        suite.check_plugin_class(kind())  # those on the network are tested against servers of their own
        return
    path, field = field_file(tmp_path)
    limits = CatalogLimits(magnitude=(15.0, 18.0))
    magnitude = np.asarray(field.stars["magnitude"])
    expected = set(field.stars["source_id"][(magnitude >= 15.0) & (magnitude <= 18.0)])
    suite.check_star_catalog(kind(path=path), Region(359.98, 62.0, 0.3), limits, expected)


@pytest.mark.parametrize("kind", builtins("lcf_calibration_surveys"))
def test_calibration_survey(kind: type[Any], tmp_path: Path) -> None:
    plugin = kind()
    path, field = field_file(tmp_path)
    if hasattr(plugin, "path"):
        expected = {str(s["source_id"]): float(s["magnitude"]) - 0.2 for s in field.stars}
        suite.check_calibration_survey(kind(path=path), field.stars, expected=expected, unknown_band=None)
        return
    if importlib.import_module(kind.__module__).__name__.endswith("gaia"):
        suite.check_calibration_survey(plugin, field.stars)
        return
    suite.check_plugin_class(plugin)


@pytest.mark.parametrize("kind", builtins("lcf_normalizations"))
def test_normalization(kind: type[Any]) -> None:
    suite.check_normalization(kind())


@pytest.mark.parametrize("kind", builtins("lcf_psf_models"))
def test_psf_model(kind: type[Any]) -> None:
    suite.check_psf_model(kind())


@pytest.mark.parametrize("kind", builtins("lcf_photometry"))
def test_photometry(kind: type[Any]) -> None:
    suite.check_photometry(kind())


@pytest.mark.parametrize("kind", slow(builtins("lcf_roi_models")))
def test_roi_model(kind: type[Any]) -> None:
    suite.check_roi_model(kind())


@pytest.mark.parametrize("kind", builtins("lcf_exporters"))
def test_exporter(kind: type[Any], tmp_path: Path) -> None:
    try:
        suite.check_exporter(kind(), tmp_path / "curve.txt")
    except NeedMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return suite.example_project(tmp_path_factory.mktemp("example") / "project")


@pytest.mark.parametrize("kind", CHAIN, ids=lambda s: s.name)
def test_stage(kind: type[Any], project: Path) -> None:
    suite.check_stage(kind, project, works=False)  # whole runs test the work on their units


def test_local_executor() -> None:
    from lcframework.executors.local import LocalExecutor

    suite.check_executor(LocalExecutor)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Port")  # of Dask's page, where another cluster has it
def test_dask_executor() -> None:
    pytest.importorskip("distributed")
    from lcframework.executors.dask import DaskExecutor

    suite.check_executor(DaskExecutor)


RESULTS: dict[Path, Any] = {}


@attrs.frozen
class OneOf:
    """The built-in panel of a number, of whichever project."""

    number: int
    title: str

    def render(self, project: Project) -> str:
        path = project.config.path
        if path not in RESULTS:
            RESULTS[path] = read_results(project)
        return str(builtin_panels(RESULTS[path])[self.number].render(project))


@pytest.mark.slow
def test_report_panels(project: Path) -> None:
    for number, panel in enumerate(builtin_panels(read_results(Project.open(project)))):
        suite.check_report_panel(OneOf(number, panel.title), project)


@pytest.mark.parametrize("name", COMMANDS)
def test_command(name: str) -> None:
    command = importlib.import_module(f"lcframework.cli.{COMMANDS[name][0]}").command
    suite.check_command(command, name)


@pytest.mark.parametrize("kind", [PlainProgress, BarProgress, Silent])
def test_listener(kind: type[Any]) -> None:
    with kind() as listener:
        suite.check_listener(listener)
