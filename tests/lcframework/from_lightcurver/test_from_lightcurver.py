"""Configurations of lightcurver become project files that can be run; comments stay, nothing is lost in silence."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli
import yaml

from lcframework.from_lightcurver import KEYS, convert
from lcframework.from_lightcurver.comments import digest, example_digests, users_comments
from lcframework.from_lightcurver.draft import toml
from lcframework.project import Project
from lcframework.types import LcfError

FULL: dict[str, Any] = {
    "workdir": "OLD",
    "raw_dirs": ["/data/one", "/data/two"],
    "files_match_pattern": "*.fit",
    "hdu_data_index": 1,
    "hdu_header_indexes": [0, 1],
    "trim_vertical": 10,
    "trim_horizontal": 20,
    "multiprocessing_cpu_count": 3,
    "ROI": {"J1": {"coordinates": [10.5, -20.25]}, "J2": {"coordinates": [10.6, -20.3]}},
    "ROI_size": 4.5,
    "telescope": {"name": "T", "latitude": -30.0, "longitude": 20.0, "elevation": 1500.0, "imager_name": "Cam"},
    "do_background_subtraction": False,
    "mask_sources_before_background": True,
    "background_estimation_n_boxes": 5,
    "source_extraction_threshold": 2.5,
    "source_extraction_min_area": 7,
    "source_extraction_do_plots": 1,
    "plate_solve_frames": "all_not_plate_solved",
    "already_plate_solved": 0,
    "plate_solving_strategy": "alternate_gaia_solve",
    "reference_frame_for_wcs": 12,
    "plate_scale_interval": [0.3, 0.4],
    "alternate_plate_solve_gaia_radius": 240,
    "astrometry_net_api_key": None,
    "max_pixel_anisotropy": "2e-2",  # as YAML 1.1 reads 2e-2
    "plate_solving_min_success_fraction": 0.5,
    "star_selection_strategy": "common_footprint_stars",
    "ROI_disk_radius_arcseconds": 200,
    "star_min_gmag": None,
    "star_max_gmag": 19.5,
    "star_max_astrometric_excess_noise": None,
    "min_phot_g_mean_flux_over_error": None,
    "min_number_stars": 4,
    "gaia_query_redo": True,
    "gaia_provider": "vizier",
    "stars_to_use_psf": "abc",
    "stars_to_exclude_psf": ["d", "aa"],
    "stars_to_use_norm": 12,
    "stars_to_exclude_norm": "xy",
    "stamp_size_stars": 30,
    "stamp_size_ROI": 40,
    "redo_stamp_extraction": False,
    "mask_bad_rows_and_columns": False,
    "clean_cosmics": True,
    "cosmics_masking_params": {"sigclip": 5.0, "sigfrac": 0.2, "objlim": 8},
    "redo_psf": True,
    "subsampling_factor": 3,
    "field_distortion": True,
    "psf_n_iter_analytic": 50,
    "psf_n_iter_pixels": 1000,
    "psf_fit_exclude_strategy": {"threshold": [0, 1.5]},
    "redo_star_photometry": False,
    "star_deconv_n_iter": 500,
    "star_photometry_uniform_background_per_epoch": True,
    "star_photometry_starlet_global_background": True,
    "fluxes_fit_exclude_strategy": None,
    "constraints_on_frame_columns_for_roi": {
        "ellipticity": [0.0, 0.5], "airmass": [1, 2], "seeing_arcseconds": [None, 2],
    },
    "constraints_on_normalization_coeff": {"coefficient": [0.2, 5.0]},
    "prepared_roi_cutouts_path": "/elsewhere",
    "photometric_band": "i_panstarrs",
    "do_ROI_model": True,
    "point_sources": {"A": [10.5001, -20.2501], "B": [10.4999, -20.2499]},
    "fix_point_source_astrometry": 0.1,
    "starting_background": "background.npy",
    "further_optimize_background": False,
    "roi_model_regularization": {
        "regularization_strength_scales": 0.5, "regularization_strength_hf": 0.6,
        "regularization_strength_positivity": 10.0, "regularization_strength_pts_source": 0.02,
        "regularization_scatter_fluxes_pre_optim": 2.0, "regularization_scatter_fluxes_main_optim": 0.1,
    },
    "roi_deconv_translations_iters": 100,
    "roi_deconv_all_iters": 900,
}  # fmt: skip

EXPECTED: dict[str, Any] = {
    "project": {"workdir": ".", "name": "J1"},
    "header": {"plugin": "file", "file": {"path": "OLD/header_parser/parse_header.py"}},
    "frames": {"raw_dirs": ["/data/one", "/data/two"], "pattern": "*.fit", "hdu_data": 1, "hdu_headers": [0, 1],
               "trim_vertical": 10, "trim_horizontal": 20},
    "telescope": {"name": "T", "imager": "Cam", "latitude": -30.0, "longitude": 20.0, "elevation": 1500.0},
    "roi": {
        "J1": {"ra": 10.5, "dec": -20.25, "exclusion_radius": 4.5,
               "point_sources": {"A": [10.5001, -20.2501], "B": [10.4999, -20.2499]}},
        "J2": {"ra": 10.6, "dec": -20.3, "exclusion_radius": 4.5},
    },
    "background": {"subtract": False, "sep": {"boxes": 5, "mask_sources": True}},
    "sources": {"sep": {"threshold": 2.5, "min_area": 7}},
    "plate_solving": {"plugin": "catalog", "retry_failed": True, "pixel_scale": [0.3, 0.4], "max_anisotropy": 0.02,
                      "min_success_fraction": 0.5, "catalog": {"radius": 240.0}},
    "stars": {"plugin": "gaia", "strategy": "common_footprint", "radius": 200.0, "magnitude": [-math.inf, 19.5],
              "max_astrometric_excess_noise": math.inf, "min_flux_over_error": 0.0, "min_number": 4,
              "gaia": {"url": "https://tapvizier.cds.unistra.fr/TAPVizieR/tap", "table": "I/355/gaiadr3",
                       "mirror": ""}},
    "psf": {"stars": ["a", "b", "c"], "exclude": ["d", "aa"],
            "starred": {"subsampling_factor": 3, "field_distortion": True, "iterations_analytic": 50,
                        "iterations_pixels": 1000}},
    "photometry": {"stars": 12, "exclude": ["x", "y"], "psf_chi2": {"between": [0.0, 1.5]},
                   "starred": {"background_per_epoch": True, "starlet_background": True}},
    "stamps": {"star_size": 30, "roi_size": 40, "mask_bad_lines": False},
    "cosmics": {"plugin": "astroscrappy", "astroscrappy": {"sigclip": 5.0, "sigfrac": 0.2, "objlim": 8.0}},
    "normalization": {"flux_chi2": {}},
    "roi_cutouts": {"frames": {"ellipticity": [0.0, 0.5], "seeing_arcseconds": [-math.inf, 2.0]},
                    "normalization": {"coefficient": [0.2, 5.0]}},
    "calibration": {"plugin": "panstarrs", "band": "i"},
    "roi_model": {"plugin": "starred", "starred": {
        "fix_astrometry": 0.1, "starting_background": "OLD/background.npy", "optimize_background": False,
        "regularization_scales": 0.5, "regularization_high_frequency": 0.6, "regularization_positivity": 10.0,
        "regularization_point_sources": 0.02, "regularization_flux_scatter_first": 2.0,
        "regularization_flux_scatter": 0.1, "iterations_translations": 100, "iterations_all": 900}},
    "run": {"workers": 3},
}  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a workdir of lightcurver's with a header parser."""
    folder = tmp_path / "old"
    (folder / "header_parser").mkdir(parents=True)
    (folder / "header_parser" / "parse_header.py").write_text("def parse_header(header):\n    return {}\n")
    (folder / "background.npy").write_bytes(b"")
    return folder


def configuration(folder: Path, old: Path, **changes: Any) -> Path:
    path = folder / "config.yaml"
    values = {k: v for k, v in {**FULL, "workdir": str(old), **changes}.items() if v is not ...}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def converted(folder: Path, old: Path, **changes: Any) -> tuple[dict[str, Any], dict[str, str]]:
    made = convert(configuration(folder, old, **changes), folder / "new")
    return tomli.loads(made.text), dict(made.notes)


def test_every_key_is_converted(tmp_path: Path, old: Path) -> None:
    assert set(FULL) == set(KEYS)
    project, notes = converted(tmp_path, old)
    expected = tomli.loads(toml_text(EXPECTED).replace("OLD", str(old)))
    assert project == expected
    assert set(notes) == {
        "workdir", "ROI", "reference_frame_for_wcs", "gaia_query_redo", "stars_to_use_psf", "redo_psf",
        "constraints_on_frame_columns_for_roi", "prepared_roi_cutouts_path",
    }  # fmt: skip
    assert "airmass" in notes["constraints_on_frame_columns_for_roi"]


def toml_text(value: dict[str, Any]) -> str:
    return "\n".join(f"{k} = {toml(v)}" for k, v in value.items())


def test_the_result_can_be_opened(tmp_path: Path, old: Path, lcf: Callable[..., Any]) -> None:
    path = configuration(tmp_path, old)
    ended = lcf("init", tmp_path / "new", "--from-lightcurver", path)
    assert ended.code == 0, ended.err
    assert "redo_psf: " in ended.out
    project = Project.open(tmp_path / "new" / "project.toml")
    assert project.config.stars.magnitude == (-math.inf, 19.5)
    assert project.toolbox.tool("roi_model").instance.fix_astrometry == 0.1
    again = lcf("init", tmp_path / "new", "--from-lightcurver", path)
    assert again.code == 1
    assert "exists already" in again.err


@pytest.mark.parametrize(
    ("changes", "table", "expected"),
    [
        ({"already_plate_solved": 1}, "plate_solving.plugin", "existing"),
        ({"plate_solving_strategy": "plate_solve"}, "plate_solving.plugin", "astrometry-net"),
        ({"plate_solving_strategy": "plate_solve", "astrometry_net_api_key": "x"}, "plate_solving.plugin", "nova"),
        ({"plate_solving_strategy": "adapt_wcs_from_reference"}, "plate_solving.plugin",
         ["astrometry-net", "reference-frame"]),
        ({"star_selection_strategy": "ROI_disk"}, "stars.strategy", "roi_disk"),
        ({"gaia_provider": "gaia"}, "stars.plugin", "gaia"),
        ({"photometric_band": "B_T"}, "calibration.plugin", "gaia"),
        ({"photometric_band": "B_T"}, "calibration.band", "B_T"),
        ({"clean_cosmics": False}, "cosmics.plugin", "none"),
        ({"do_ROI_model": False}, "roi_model.plugin", "none"),
        ({"fix_point_source_astrometry": True}, "roi_model.starred.fix_astrometry", True),
        ({"starting_background": None}, "roi_model.starred.background", False),
        ({"psf_fit_exclude_strategy": {"sigma_clip": 4}}, "photometry.psf_chi2", {"sigma_clip": 4.0}),
        ({"constraints_on_frame_columns_for_roi": ...}, "roi_cutouts.frames", {}),
        ({"files_match_pattern": ...}, "frames.pattern", "*"),
        ({"raw_dirs": "/data/one"}, "frames.raw_dirs", ["/data/one"]),
        ({"point_sources": {1: [10.5, -20.25]}}, "roi.J1.point_sources.s1", [10.5, -20.25]),
    ],
)  # fmt: skip
def test_other_values(tmp_path: Path, old: Path, changes: dict[str, Any], table: str, expected: Any) -> None:
    value: Any = converted(tmp_path, old, **changes)[0]
    for part in table.split("."):
        value = value[part]
    assert value == expected
    path = tmp_path / "project.toml"
    path.write_text(convert(tmp_path / "config.yaml", tmp_path).text)
    Project.open(path)


def test_null_leaves_our_default(tmp_path: Path, old: Path) -> None:
    project, _ = converted(tmp_path, old, stars_to_use_psf=None, stars_to_exclude_psf=None, telescope=None)
    assert "stars" not in project["psf"]
    assert "exclude" not in project["psf"]
    assert "telescope" not in project


def test_secrets_do_not_pass(tmp_path: Path, old: Path) -> None:
    made = convert(configuration(tmp_path, old, astrometry_net_api_key="verysecret"), tmp_path)
    assert "verysecret" not in made.text + str(made.notes)
    assert "ASTROMETRY_NET_API_KEY" in dict(made.notes)["astrometry_net_api_key"]


def test_a_workdir_with_lightcurvers_database_is_not_used(tmp_path: Path, old: Path) -> None:
    (old / "database.sqlite3").write_bytes(b"")
    made = convert(configuration(tmp_path, old), old)
    assert tomli.loads(made.text)["project"]["workdir"] == "products"


def test_wrong_values_and_keys_are_said_and_the_rest_is_converted(tmp_path: Path, old: Path) -> None:
    project, notes = converted(
        tmp_path, old, stamp_size_stars="big", ROI_disk_radius_arcseconds=None, psf_n_iter_pixel=3,
        plate_scale_interval=[0.1], photometric_band="H_2mass", cosmics_masking_params={"niter": 3},
    )  # fmt: skip
    assert "a number is needed" in notes["stamp_size_stars"]
    assert "is psf_n_iter_pixels meant?" in notes["psf_n_iter_pixel"]
    assert "not converted" in notes["plate_scale_interval"]
    assert "not converted" in notes["photometric_band"]
    assert "niter" in notes["cosmics_masking_params"]
    assert project["stamps"] == {"roi_size": 40, "mask_bad_lines": False}


@pytest.mark.parametrize(("content", "words"), [("a: [1", "not valid YAML"), ("a: 1", "no ROI"), ("- 1", "no ROI")])
def test_files_that_are_no_configuration(tmp_path: Path, content: str, words: str, lcf: Callable[..., Any]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(LcfError, match=words):
        convert(path, tmp_path)
    ended = lcf("init", tmp_path / "new", "--from-lightcurver", path)
    assert ended.code == 1
    assert words in ended.err
    assert not (tmp_path / "new" / "project.toml").exists()


# ---------------------------------------------------------------- comments

COMMENTED = """\
# campaign of 2019, with the "new" camera
workdir: /old   # on the big disk
raw_dirs: [/data]
##########
ROI:
  # position from HST
  J1: {coordinates: [10.5, -20.25]}  # checked
ROI_size: 3.5  # the ring is 2" wide
# the referee asked for 25
stamp_size_stars: 25
photometric_band: "V"  # no filter: this # is closest
redo_psf: true  # after the bug of May
# to do: the southern field
"""


def test_comments_stay_with_what_they_explain(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(COMMENTED)
    lines = convert(path, tmp_path).text.splitlines()

    def above(setting: str) -> list[str]:
        i = next(i for i, line in enumerate(lines) if line.startswith(setting))
        j = i
        while lines[j - 1].startswith("#"):
            j -= 1
        return lines[j:i]

    assert above("workdir") == ['# campaign of 2019, with the "new" camera', "# on the big disk"]
    assert above("ra = ") == ["# position from HST", "# checked"]
    assert above("exclusion_radius") == ['# the ring is 2" wide']
    assert above("star_size") == ["# the referee asked for 25"]
    assert above("plugin") == ["# no filter: this # is closest"]
    assert lines[-2:] == ["# redo_psf: after the bug of May", "# to do: the southern field"]
    assert "##########" not in lines


def test_what_is_a_comment() -> None:
    assert users_comments('a: "x # no"  # yes\nb: c#d\n') == {"a": ["yes"]}
    assert users_comments("a:\n - 1\n # two\n - 2\n# next\nb: 1\n# end\n") == {"a": ["two"], "b": ["next"], "": ["end"]}
    assert users_comments("a: |\n  # text\n  more\n") == {}


def test_comments_of_the_example_are_left_out() -> None:
    folder = importlib.util.find_spec("lightcurver")
    if folder is None or folder.origin is None:
        assert len(example_digests()) > 150
        assert digest("#  My own   Comment ") == digest("# my own comment")
        return
    example = Path(folder.origin).parent / "pipeline" / "example_config_file" / "config.yaml"
    assert users_comments(example.read_text()) == {}
