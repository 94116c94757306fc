"""Every option that docs/project_file.md lists, changed in a project that has run: which stages become pending.

Options that are left out here, or a stage that leaves one out of what its units are made from, fail. Planning alone is
quick; the runs that carry each change out are slow.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pages
import pytest
import tomli

from lcframework.config.toolbox import Tool
from lcframework.plugins import SEAMS, Plugins
from lcframework.project import Project
from lcframework.provenance import canonical, counted

IMPORT, SOLVE, SKY, QUERY = (
    "read_convert_skysub_character_catalog", "plate_solving", "calculate_common_and_total_footprint",
    "query_gaia_for_stars",
)  # fmt: skip
STAMPS, PSF, STARS, NORM, ZERO, CUTOUTS, MODEL = (
    "stamp_extraction", "psf_modeling", "star_photometry", "calculate_normalization_coefficient",
    "calculate_absolute_zeropoints", "prepare_calibrated_cutouts", "model_calibrated_cutouts",
)  # fmt: skip


@attrs.frozen
class Change:
    """A value that is not the project's, the stages that it makes pending, and how a run with it ends."""

    value: Any
    stages: tuple[str, ...] = ()
    recorded: bool = False  # it changes what the import records before its units are known
    stops: str = ""  # what a run with it stops with, where it can't work in this campaign
    also: dict[str, Any] = attrs.field(factory=dict)  # what must be set with it, by dotted key


NOTHING = Change(None)

#: By table, what its options change; a dict by option, or one tuple of stages for all of them.
CHANGES: dict[str, dict[str, Change]] = {
    "[project]": {
        "name": Change("another"),
        "workdir": NOTHING,  # another project
        "database": NOTHING,
    },
    "[frames]": {
        "raw_dirs": Change(["raw", "raw"]),
        "pattern": Change("quad_*.fits"),
        "hdu_data": Change(1, (IMPORT,), stops="HDU 1"),
        "hdu_headers": Change([0, 0], (IMPORT,)),
        "trim_vertical": Change(4, (IMPORT,)),
        "trim_horizontal": Change(4, (IMPORT,)),
        "trim_section": Change("all", (IMPORT,)),
        "exclude": Change(["quad_0001.fits"], recorded=True),
        "keep_imported": Change(False),
    },
    "[header]": {"plugin": Change("auto", (IMPORT,)), "gain": Change(3.0, ())},  # every header gives one
    "[header.fits]": {
        "exptime": Change(200.0, (IMPORT,)),
        "exptime_keyword": Change("EXPTIME", (IMPORT,)),
        "gain": Change(1.5, (IMPORT,)),
        "gain_keyword": Change("GAIN", (IMPORT,)),
        "time_keyword": Change("MJD-OBS", (IMPORT,)),
        "time_reference": Change("mid", (IMPORT,)),
        "time_scale": Change("tai", (IMPORT,)),
        "saturation": Change(50000.0, (IMPORT,)),
        "read_noise": Change(3.0, (IMPORT,)),
        "band": Change("g", (IMPORT,)),
        "band_keyword": Change("FILTER", (IMPORT,)),
        "instrument": Change("other", (IMPORT,)),
        "data_unit": Change("electron", (IMPORT,)),
    },
    "[telescope]": {
        "latitude": Change(-20.0, (IMPORT, SKY)),
        "longitude": Change(-71.0, (IMPORT, SKY)),
        "elevation": Change(100.0, (IMPORT, SKY)),
        "name": Change("another"),
        "imager": Change("another"),
    },
    "[roi.NAME]": {
        "ra": Change(150.1138, (SOLVE, SKY, QUERY, STAMPS, CUTOUTS)),
        "dec": Change(-28.3053, (SOLVE, SKY, QUERY, STAMPS, CUTOUTS)),
        "exclusion_radius": Change(6.0, (QUERY, STAMPS)),
        "point_sources": Change({"A": [150.1138793, -28.3051182]}, (MODEL,)),
        "ephemeris": Change("proper_motion", (SKY, QUERY, CUTOUTS, MODEL)),
    },
    "[reduction]": {
        "plugin": Change("ccdproc", (IMPORT,), also={"reduction.dirs": ["raw"]}),  # which hold no calibration frames
        "dirs": Change(["raw"], (IMPORT,)),  # folders that are named are looked at
        "pattern": Change("*.fit"),
    },
    "[background]": {"plugin": Change("none", (IMPORT,)), "subtract": Change(False, (IMPORT,))},
    "[background.sep]": {
        "boxes": Change(2, (IMPORT,)),
        "mask_sources": Change(True, (IMPORT,)),
        "filter_size": Change(3, (IMPORT,)),
    },
    "[sources]": {"plugin": Change("none", (IMPORT,), stops="[sources]")},
    "[sources.sep]": {
        "threshold": Change(2.5, (IMPORT,)),
        "min_area": Change(15, (IMPORT,)),
        "deblend_contrast": Change(0.01, (IMPORT,)),
        "aperture": Change(2.0, (IMPORT,)),
    },
    "[plate_solving]": {
        "plugin": Change(["existing", "catalog"], (SOLVE,)),
        "retry_failed": Change(True),
        "pixel_scale": Change([0.19, 0.23], (SOLVE,)),
        "max_anisotropy": Change(0.03, (SOLVE,)),
        "min_success_fraction": Change(0.5),
        "search_radius": Change(2.0, (SOLVE,)),
        "verify": Change(False, (SOLVE,)),
    },
    "[plate_solving.existing]": {"refine": Change(True, (SOLVE,))},
    "[stars]": {
        "plugin": Change("gaia", (SOLVE, QUERY), stops="no stored answer"),
        "strategy": Change("common_footprint", (SKY,)),
        "radius": Change(150.0, (SOLVE, SKY)),
        "magnitude": Change([15.5, 19.5], (SOLVE, QUERY)),
        "max_astrometric_excess_noise": Change(2.0, (QUERY,)),
        "min_flux_over_error": Change(50.0, (QUERY,)),
        "min_number": Change(5, (QUERY,)),
    },
    "[stars.file]": {
        "path": Change("copy.ecsv", (SOLVE, QUERY)),
        "columns": Change({"source_id": "source_id", "ra": "ra", "dec": "dec", "magnitude": "phot_g_mean_mag"},
                          (SOLVE, QUERY)),
        "ref_epoch": Change(2000.0, (SOLVE, QUERY)),
    },
    "[stamps]": {
        "star_size": Change(26, (STAMPS, STARS)),
        "roi_size": Change(30, (STAMPS,)),
        "mask_bad_lines": Change(False, (STAMPS,)),
        "saturation": Change(40000.0, (IMPORT,)),
        "hot_pixels": Change("hot.fits", (STAMPS,)),
        "noise_correlation": Change(2.0, (STAMPS,)),
    },
    "[cosmics]": {"plugin": Change("none", (STAMPS,))},
    "[cosmics.astroscrappy]": {
        "sigclip": Change(6.0, (STAMPS,)), "sigfrac": Change(0.4, (STAMPS,)), "objlim": Change(6.0, (STAMPS,)),
    },
    "[psf]": {
        "plugin": Change("starred-reference", (PSF,)),
        "stars": Change(3, (PSF,)),
        "exclude": Change(["a"], (PSF,)),
    },
    "[psf.starred]": {
        "subsampling_factor": Change(3, (PSF,)),
        "field_distortion": Change(True, (PSF,)),
        "variation": Change(0, (PSF,)),
        "regularization": Change(1.0, (PSF,)),
        "iterations_analytic": Change(50, (PSF,)),
        "iterations_pixels": Change(60, (PSF,)),
        "max_masked": Change(0.3, (PSF,)),
        "outlier_sigma": Change(6.0, (PSF,)),
        "star_sigma": Change(6.0, (PSF,)),
    },
    "[variables]": {
        "plugin": Change("file", (QUERY,)),
        "radius": Change(2.0),  # without a catalogue it says nothing
        "keep": Change(True, ()),
    },
    "[sequence]": {"path": Change("chart.json", ()), "radius": Change(2.0)},  # names, no numbers
    "[comparison_stars]": {"plugin": Change("worth", ())},  # all of them are measured
    "[photometry]": {
        "plugin": Change("none", (STARS, NORM), stops="[photometry]"),
        "stars": Change(4, (STARS,)),
        "exclude": Change(["a"], (STARS,)),
        "psf_chi2": Change({"sigma_clip": 5.0}, (NORM, CUTOUTS)),
        "aperture": Change(5.0, (STARS, NORM, MODEL)),
        "estimator": Change("psf", (STARS, NORM)),
    },
    "[photometry.starred]": {
        "background_per_epoch": Change(False, (STARS,)),
        "starlet_background": Change(True, (STARS, NORM)),
        "position_prior": Change(2.0, (STARS,)),
        "sigma_clip": Change(6.0, (STARS,)),
    },
    "[normalization]": {
        "plugin": Change("none", (NORM,), stops="[normalization]"),
        "flux_chi2": Change({"sigma_clip": 4.0}, (NORM,)),
    },
    "[normalization.ensemble]": {
        "sigma_clip": Change(5.0, (NORM,)),
        "max_intrinsic_scatter": Change(0.2, (NORM,)),
        "spatial_order": Change(0, (NORM,)),
        "response_order": Change(0, (NORM,)),
        "spatial_amplitude": Change(0.2, (NORM,)),
        "max_iterations": Change(100, (NORM,)),
    },
    "[calibration]": {
        "plugin": Change("gaia", (ZERO,)),
        "band": Change("g_sdss", (ZERO,), also={"calibration.file.columns": {"ra": "ra", "dec": "dec",
                                                                            "magnitude": "phot_g_mean_mag"}}),
        "bands": Change({"r": "i_sdss"}, (ZERO,)),
    },
    "[calibration.file]": {
        "path": Change("copy.ecsv", (ZERO,)),
        "system": Change("Vega", (ZERO,)),
        "columns": Change({"ra": "ra", "dec": "dec", "magnitude": "phot_g_mean_mag"}, (ZERO,)),
        "max_separation": Change(1.0, (ZERO,)),
        "epoch": Change(2000.0, (ZERO,)),
        "default_error": Change(0.1, (ZERO,)),
    },
    "[roi_cutouts]": {
        "frames": Change({"seeing_arcseconds": [0.0, 2.5]}, (CUTOUTS,)),
        "normalization": Change({"coefficient": [0.2, 5.0]}, (CUTOUTS,)),
    },
    "[roi_model]": {"plugin": Change("starred", (MODEL,))},
    "[roi_model.joint]": {
        "background": Change(False, (MODEL,)),
        "galaxies": Change(2, (MODEL,)),
        "galaxy_positions": Change([[0.1, 0.1]], (MODEL,)),
        "galaxy_deviations": Change(0.3, (MODEL,)),
        "fix_astrometry": Change(True, (MODEL,)),
        "differential_refraction": Change(True, (MODEL,)),
        "clip": Change(6.0, (MODEL,)),
        "noise_from_model": Change(False, (MODEL,)),
        "iterations": Change(15, (MODEL,)),
    },
    "[run]": {
        "executor": Change("dask"), "workers": Change(2), "device": Change("cpu"), "offline": Change(False),
        "stages": NOTHING,  # of plugins that are not installed here
        "seconds_per_file": Change(300.0),
    },
    "[plugins]": {
        "disable": Change(["exporter-aavso"]), "requires": Change(["numpy"]),
        "local": NOTHING,  # it brings plugins
    },
}  # fmt: skip

DOCUMENTED = {
    s.title: [pages.plain(row[0]) for row in s.table()]
    for s in pages.sections(pages.read("project_file.md"))
    if s.title.startswith("[")
}
#: Options of plugins that the campaign does not select change nothing in it; see the test of plugins' identities.
CASES = [(title, key) for title, options in CHANGES.items() for key, change in options.items() if change is not NOTHING]


def toml_of(value: Any) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_of(v)}" for key, v in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_of, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def written(tables: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the lines of a TOML file."""
    plain = {k: v for k, v in tables.items() if not isinstance(v, dict) or (above and not isinstance(v, Table))}
    if above and (plain or not tables):
        yield f"[{above}]"
    yield from (f"{key} = {toml_of(value)}" for key, value in plain.items())
    for key, value in tables.items():
        if key not in plain:
            yield from written(value, f"{above}.{key}".lstrip("."))


class Table(dict[str, Any]):
    """A table of the file, and no value in one."""


def tables_of(path: Path) -> Table:
    """Return a project file with its tables told from its values."""
    raw = tomli.loads(path.read_text())
    out = Table({name: Table(section) for name, section in raw.items()})
    out["roi"] = Table({name: Table({k: v for k, v in roi.items()}) for name, roi in raw["roi"].items()})
    for name, section in raw.items():
        if name != "roi":
            out[name] |= {k: Table(v) for k, v in section.items() if isinstance(v, dict)}
    return out


def change_in(project: Path, title: str, key: str, name: str = "changed.toml") -> Path:
    """Write a project file beside another one, with one option changed."""
    tables = copy.deepcopy(tables_of(project))
    change = CHANGES[title][key]
    dotted = title.strip("[]").replace("roi.NAME", "roi.QUAD")
    for where, what in {f"{dotted}.{key}": change.value, **change.also}.items():
        *above, last = where.split(".")
        table: Any = tables
        for part in above:
            table = table.setdefault(part, Table())
        table[last] = what
    path = project.with_name(name)
    path.write_text("\n".join(written(tables)) + "\n")
    return path


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.installed()


@pytest.fixture(scope="module")
def changeable(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a copy of the campaign that ran, with the files that changes name; nothing in it is pending."""
    folder = tmp_path_factory.mktemp("changed") / "campaign"
    shutil.copytree(finished.folder, folder)
    _add_files(folder)
    campaign = attrs.evolve(finished, folder=folder)
    campaign.run()  # the raw files were moved
    assert campaign.pending() == {}
    return campaign


def _add_files(folder: Path) -> None:
    import numpy as np
    from astropy.io import fits
    from astropy.table import Table as AstropyTable

    variables = AstropyTable({"name": ["elsewhere"], "ra": [10.0], "dec": [10.0]})
    variables.write(folder / "variables.ecsv", format="ascii.ecsv")
    (folder / "copy.ecsv").write_text((folder / "stars.ecsv").read_text() + "\n")
    raw = sorted((folder / "raw").glob("*.fits"))[0]
    image = np.zeros(fits.getdata(raw).shape, np.uint8)
    image[7, 8] = 1
    fits.PrimaryHDU(image).writeto(folder / "hot.fits", overwrite=True)


def test_every_documented_option_is_here() -> None:
    for title, options in CHANGES.items():
        assert list(options) == DOCUMENTED[title], title


@pytest.mark.parametrize(("title", "key"), CASES, ids=[f"{t}-{k}" for t, k in CASES])
def test_stages_that_become_pending(changeable: Any, plugins: Plugins, title: str, key: str) -> None:
    change = CHANGES[title][key]
    path = change_in(changeable.project, title, key)
    plan = Project.open(path, plugins).plan()
    assert tuple(s.name for s in plan if s.pending) == change.stages
    if change.recorded:
        assert all(s.waiting for s in plan if s.name == MODEL)


def _offers() -> list[Any]:
    plugins = pages.builtin_plugins()
    return [(seam.section or "roi.QUAD", o) for seam in SEAMS if seam.selected for o in plugins.offers(seam.hook)]


OFFERS = [(section, offer) for section, offer in _offers() if attrs.fields(offer.cls)]


@pytest.mark.parametrize(("section", "offer"), OFFERS, ids=[f"{s}.{o.name}" for s, o in OFFERS])
def test_every_option_of_a_plugin_counts_unless_it_can_not_change_an_answer(section: str, offer: Any) -> None:
    """Whether or not a project selects it."""

    def identity(**options: Any) -> str:
        instance = offer.cls.__new__(offer.cls)
        for field in attrs.fields(offer.cls):
            default = field.default
            value = default.factory() if isinstance(default, attrs.Factory) else default
            object.__setattr__(instance, field.name, options.get(field.name, value))
        return canonical(counted(Tool(section, offer.name, instance, 1).identity()))

    before = identity()
    operational = {"offline", "cache_dir", *getattr(offer.cls, "operational", ())}
    for field in attrs.fields(offer.cls):
        assert (identity(**{field.name: "another value"}) == before) == (field.name in operational), field.name


@pytest.mark.slow
@pytest.mark.parametrize(("title", "key"), CASES, ids=[f"{t}-{k}" for t, k in CASES])
def test_the_change_is_carried_out(
    changeable: Any, tmp_path: Path, lcf: Callable[..., Any], title: str, key: str
) -> None:
    """A project that has run takes the change, and what is pending afterwards is nothing."""
    folder = tmp_path / "campaign"
    shutil.copytree(changeable.folder, folder)
    change = CHANGES[title][key]
    path = change_in(folder / "project.toml", title, key)
    ended = lcf("run", path)
    assert "bug" not in ended.err, ended.err
    if change.stops:
        assert ended.code in (1, 3)
        assert change.stops in ended.err
        return
    assert ended.code in (0, 3), ended.out + ended.err
    plan = Project.open(path).plan()
    assert [s.name for s in plan if s.pending] == []
    # And back again.
    ended = lcf("run", folder / "project.toml")
    assert ended.code in (0, 3), ended.out + ended.err
