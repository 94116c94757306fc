"""The stage: what each of its settings does, that wrong solutions are refused with a reason, and who solved is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table, vstack
from astropy.wcs import WCS

from lcframework.project import Project
from lcframework.sky.geometry import sky_to_pixel
from lcframework.sky.solver_stars import SolverStars
from lcframework.stages.plate_solving import PlateSolving
from lcframework.storage.frame_files import read_wcs, with_wcs
from lcframework.types import NotSolved, UnusableInput
from plugins_builtin.catalogs.file import TableOfStars

RA, DEC, SCALE, SIZE = 150.1, -20.3, 0.5, 240


def header(angle=12.0, parity=1, scale=SCALE, shift=0.0, stretch=1.0, **more):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    h = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": RA, "CRVAL2": DEC})
    h["CRPIX1"], h["CRPIX2"] = 0.5 * SIZE + shift, 0.5 * SIZE
    matrix = scale / 3600 * np.array([[-parity * c, s], [parity * s, c]]) * [stretch, 1.0]
    for (i, j), value in np.ndenumerate(matrix):
        h[f"CD{i + 1}_{j + 1}"] = value
    h.update(more)
    return h


def sky():
    """A catalogue that reaches beyond a frame."""
    rng = np.random.default_rng(4)
    stars = Table({"source_id": 100 + np.arange(120)})
    stars["ra"] = RA + rng.uniform(-0.04, 0.04, 120) / np.cos(np.radians(DEC))
    stars["dec"] = DEC + rng.uniform(-0.04, 0.04, 120)
    stars["magnitude"] = rng.uniform(14.0, 18.0, 120)
    return stars


def expose(
    path: Path, stated: fits.Header | None, truth: fits.Header, mjd: float = 60000.0, stars: Table | None = None
) -> None:
    """Write a frame of the sky as a WCS has it, with another in the header or none."""
    stars = sky() if stars is None else stars
    rng = np.random.default_rng(int(mjd))
    x, y = WCS(truth).all_world2pix(stars["ra"], stars["dec"], 0)
    grid = np.arange(SIZE)
    gx, gy = (np.exp(-0.5 * ((grid[None, :] - v[:, None]) / 1.4) ** 2) for v in (x, y))
    flux = 10 ** (-0.4 * (stars["magnitude"] - 19.5)) * 300.0
    image = rng.normal(200.0, 4.0, (SIZE, SIZE)) + np.einsum("s,sj,si->ji", flux, gy, gx)
    h = fits.Header({"MJD-OBS": mjd, "EXPTIME": 60.0, "GAIN": 2.0, "RDNOISE": 5.0, "FILTER": "r", "INSTRUME": "cam"})
    h.update(stated or {})
    fits.PrimaryHDU(image.astype(np.float32), h).writeto(path)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    def write(frames: list[tuple[Any, Any]], settings: str = "", stars: str = "") -> Path:
        (tmp_path / "raw").mkdir()
        for i, (stated, truth) in enumerate(frames):
            expose(tmp_path / "raw" / f"f{i}.fits", stated, truth, 60000.0 + i)
        sky().write(tmp_path / "stars.ecsv")
        path = tmp_path / "project.toml"
        path.write_text(
            f'[project]\nworkdir = "."\n[frames]\nraw_dirs = ["raw"]\n[roi.T]\nra = {RA}\ndec = {DEC}\n'
            f"[plate_solving]\n{settings}\n"
            f'[stars]\nplugin = "file"\nmagnitude = [14.0, 18.0]\n{stars}\n'
            '[stars.file]\npath = "stars.ecsv"\ncolumns = { magnitude = "magnitude" }\n'
            '[sources.sep]\nmin_area = 5\nthreshold = 3.0\n[calibration]\nplugin = "none"\n'
            "[run]\noffline = true\nworkers = 1\n"
        )
        return path

    return write


def solving(report: Any) -> Any:
    return next(s for s in report.stages if s.name == "plate_solving")


def far_frame(path: Path, name: str, stated: fits.Header | None, mjd: float) -> None:
    """Add a frame of other stars, 3 degrees east of the others, with its WCS in the header or another."""
    rng = np.random.default_rng(9)
    stars = sky()
    stars["ra"] = RA + 3.0 + rng.uniform(-0.04, 0.04, 120) / np.cos(np.radians(DEC))
    stars["dec"] = DEC + rng.uniform(-0.04, 0.04, 120)
    expose(path.parent / "raw" / name, stated, header(CRVAL1=RA + 3.0), mjd, stars)


def solve(path: Path, **options: Any) -> tuple[Any, Table]:
    project = Project.open(path)
    report = project.run(stop="plate_solving", **options)
    return report, project.frames()


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


GOOD = (header(), header())


def test_a_solved_frame_has_solver_matches_and_rms(make):
    report, frames = solve(make([GOOD]))
    assert report.exit_code == 0
    row = frames[0]
    assert (row["solver"], row["plate_solved"]) == ("existing", True)
    assert row["wcs_matched"] > 20
    assert row["wcs_rms_pixels"] < 0.3
    assert row["pixel_scale"] == pytest.approx(SCALE, rel=1e-6)


WRONG = {
    "off by 40 arcsec": {"shift": 80.0},
    "mirrored": {"parity": -1},
    "half a turn": {"angle": 192.0},
    "wrong scale": {"scale": 0.55},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_a_wrong_wcs_is_refused_and_the_next_solver_asked(make, changes):
    wrong = (header(**changes), header())
    path = make([wrong], 'plugin = ["existing", "catalog"]\npixel_scale = [0.45, 0.56]')
    report, frames = solve(path)
    assert report.exit_code == 0, report
    assert frames[0]["solver"] == "catalog"
    x, y = np.array([10.0, 120.0, 230.0]), np.array([20.0, 120.0, 200.0])
    back = header_of(path).all_world2pix(*WCS(header()).all_pix2world(x, y, 0), 0)
    assert np.hypot(back[0] - x, back[1] - y).max() < 0.2


def header_of(path):
    return read_wcs(path.parent / "frames" / "f0.wcs")


def test_a_wrong_wcs_alone_is_refused_with_its_reason(make):
    report, frames = solve(make([(header(shift=60.0), header()), GOOD], "min_success_fraction = 0.5"))
    assert not report.message
    assert list(frames["plate_solved"]) == [False, True]
    assert "existing: of " in frames["comment"][0]
    assert "catalogue stars that it puts in the frame" in frames["comment"][0]


def test_a_wcs_beside_its_stars_is_moved_to_them(make):
    """Six pixels are more than a star's own width: its light would be masked as a neighbour's."""
    path = make([(header(shift=6.0), header()), GOOD])
    _, frames = solve(path)
    assert list(frames["solver"]) == ["existing", "existing"]
    assert [int(f) & 4 for f in frames["flags"]] == [4, 0]
    x, y = sky_to_pixel(read_wcs(path.parent / frames["wcs_relpath"][0]), RA, DEC)
    assert np.hypot(x - SIZE / 2 + 1, y - SIZE / 2 + 1) < 0.3


def test_verify_can_be_switched_off(make):
    path = make([(header(shift=60.0), header())], "verify = false")
    report, frames = solve(path)
    assert (report.exit_code, frames[0]["solver"]) == (0, "existing")
    assert not (path.parent / "frames" / "field_stars.fits").exists()


def test_too_few_stars_are_said_and_no_reason_to_refuse(make):
    path = make([(header(shift=60.0), header())])
    few = Table.read(path.parent / "stars.ecsv")
    near = np.argsort(np.hypot(few["ra"] - RA, few["dec"] - DEC))[:3]
    few[near].write(path.parent / "stars.ecsv", overwrite=True)
    _, frames = solve(path)
    assert frames[0]["plate_solved"]
    (cause,) = [c for c in Project.open(path).doubts() if c.kind == "wcs_not_verified"]
    assert "not verified: 3 catalogue stars" in cause.text


def test_a_query_without_an_answer_is_named_in_words(make, lcf, monkeypatch):
    def refuse(self, region, limits):
        raise UnusableInput("the archive holds no star here")

    path = make([GOOD])
    monkeypatch.setattr(TableOfStars, "query", refuse)
    _, frames = solve(path)
    assert frames[0]["plate_solved"]
    said = lcf("status", path).out
    assert "  catalogue stars of the field (plate_solving): the archive holds no star here" in said


def test_pixel_scale_is_a_condition(make):
    path = make([GOOD], "pixel_scale = [0.2, 0.4]\nmin_success_fraction = 0.0")
    _, frames = solve(path)
    assert not frames[0]["plate_solved"]
    assert "in [plate_solving] pixel_scale" in frames["comment"][0]
    change(path, "[0.2, 0.4]", "[0.4, 0.6]")
    assert solve(path)[1][0]["plate_solved"]


def test_max_anisotropy(make):
    stretched = header(stretch=1.04)
    path = make([(stretched, stretched)], "min_success_fraction = 0.0")
    _, frames = solve(path)
    assert not frames[0]["plate_solved"]
    assert "anisotropy of 0.04" in frames["comment"][0]
    assert "max_anisotropy = 0.02" in frames["comment"][0]
    change(path, "[plate_solving]", "[plate_solving]\nmax_anisotropy = 0.05")
    assert solve(path)[1][0]["plate_solved"]


def test_min_success_fraction(make):
    path = make([(None, header()), GOOD, GOOD], "min_success_fraction = 0.7")
    report, _ = solve(path)
    assert report.exit_code == 1
    assert "2 of 3 frames are solved" in report.message
    assert "f0.fits: not solved: existing" in report.message
    change(path, "0.7", "0.6")
    report, frames = solve(path)
    # Lowering it makes no frame out of date.
    assert (report.message, report.units_done) == ("", 0)
    assert list(frames["plate_solved"]) == [False, True, True]


def test_retry_failed(make):
    path = make([(None, header()), GOOD], "min_success_fraction = 0.0")
    tried = next(s for s in solve(path)[0].stages if s.name == "plate_solving")
    assert len(tried.unusable) == 1
    again = next(s for s in solve(path)[0].stages if s.name == "plate_solving")
    assert (again.done, len(again.unusable)) == (0, 0)
    change(path, "[plate_solving]", "[plate_solving]\nretry_failed = true")
    third = next(s for s in solve(path)[0].stages if s.name == "plate_solving")
    # The failed frame alone: the solved one is not made again.
    assert (third.done, len(third.unusable)) == (0, 1)


def test_search_radius_limits_the_stars_and_the_hint(make):
    path = make([GOOD], 'plugin = "catalog"\npixel_scale = [0.45, 0.55]\nsearch_radius = 0.02')
    assert solve(path)[0].exit_code == 0
    stars = Table.read(path.parent / "frames" / "field_stars.fits")
    distance = np.hypot((stars["ra"] - RA) * np.cos(np.radians(DEC)), stars["dec"] - DEC)
    assert 5 < len(stars) < 60
    assert distance.max() < 0.02
    stage = PlateSolving()
    stage.toolbox = Project.open(path).toolbox
    assert SolverStars(stage.toolbox).regions()[0].radius == 0.02
    change(path, "search_radius = 0.02", "search_radius = 0.01")
    report, _ = solve(path)
    assert len(Table.read(path.parent / "frames" / "field_stars.fits")) < len(stars)
    assert report.exit_code in (0, 1)


def test_the_verification_asks_for_no_more_than_the_stars_radius(make):
    path = make([GOOD], stars="radius = 60.0")
    stage = PlateSolving()
    stage.toolbox = Project.open(path).toolbox
    assert SolverStars(stage.toolbox).regions()[0].radius == pytest.approx(60 / 3600)


@pytest.mark.parametrize(("plugin", "given"), [("existing", False), ("catalog", True)])
def test_only_who_needs_stars_gets_them(make, monkeypatch, plugin, given):
    """Those of the verification may cover a part of the frame, and a fit to them would run away elsewhere."""
    path = make([GOOD], f'plugin = "{plugin}"\npixel_scale = [0.45, 0.55]')
    project = Project.open(path)
    kind = type(project.toolbox.all("plate_solving")[0].instance)
    seen, real = [], kind.solve

    def solve_and_note(self, sources, shape, hint):
        seen.append(hint.stars is not None)
        return real(self, sources, shape, hint)

    monkeypatch.setattr(kind, "solve", solve_and_note)
    assert project.run(stop="plate_solving").exit_code == 0
    assert seen == [given]
    assert project.frames()["wcs_matched"][0] > 15


def test_a_new_wcs_leaves_nothing_of_the_old_one():
    old = header(PV1_1=1.0, LONPOLE=180.0, CDELT1=1.0, CROTA2=4.0, A_ORDER=2, A_2_0=1e-5, CPDIS1="LOOKUP", OBJECT="T")
    new = with_wcs(old, header(angle=40.0))
    assert new["OBJECT"] == "T"
    assert {k for k in new if k.startswith(("PV", "LONPOLE", "CDELT", "CROTA", "A_", "CPDIS"))} == set()
    assert new["CD1_1"] == header(angle=40.0)["CD1_1"]


def test_regions_far_from_each_other(make, monkeypatch):
    """Frames without a WCS are looked for around every region; stars around all of them are asked for."""
    path = make([(None, header())], 'plugin = "catalog"\npixel_scale = [0.49, 0.51]\nsearch_radius = 0.06')
    near, far = sky(), sky()
    rng = np.random.default_rng(9)
    far["source_id"] += 1000
    far["ra"] = RA + rng.uniform(-0.04, 0.04, 120) / np.cos(np.radians(DEC))
    far["dec"] = DEC + rng.uniform(-0.04, 0.04, 120)
    monkeypatch.setitem(globals(), "sky", lambda: far)
    expose(path.parent / "raw" / "f1.fits", None, header(), 60001.0)
    far["ra"] += 3.0  # a turn about the pole leaves the picture as it is
    vstack([near, far]).write(path.parent / "stars.ecsv", overwrite=True)
    text = path.read_text()
    path.write_text(text.replace("[plate_solving]", f"[roi.FAR]\nra = {RA + 3.0}\ndec = {DEC}\n[plate_solving]", 1))
    report, frames = solve(path)
    assert report.exit_code == 0
    found = {Path(r["original_image_path"]).name: read_wcs(path.parent / r["wcs_relpath"]) for r in frames}
    for name, ra in (("f0.fits", RA), ("f1.fits", RA + 3.0)):
        truth = WCS(header(CRVAL1=ra))
        there = truth.all_pix2world([[20, 30], [200, 150]], 0)
        np.testing.assert_allclose(found[name].all_world2pix(there, 0), [[20, 30], [200, 150]], atol=0.3)
    assert all(frames["wcs_matched"] > 10)


CATALOG = 'plugin = "catalog"\npixel_scale = [0.49, 0.51]\nsearch_radius = 0.06'


def test_a_corrected_position_has_frames_tried_again(make):
    path = make([(None, header()), (None, header())], CATALOG)
    change(path, f"ra = {RA}", f"ra = {RA + 1.0}")
    report, frames = solve(path)
    assert not any(frames["plate_solved"])
    assert "0 of 2 frames are solved" in report.message
    change(path, f"ra = {RA + 1.0}", f"ra = {RA}")
    report, frames = solve(path)
    assert all(frames["plate_solved"]), frames["comment"]
    assert report.exit_code == 0


@pytest.mark.slow
def test_other_stars_have_failed_frames_alone_tried_again(make):
    path = make([GOOD, (None, header())], "min_success_fraction = 0.0")
    assert solving(solve(path)[0]).done == 2  # the query and the first frame
    change(path, "magnitude = [14.0, 18.0]", "magnitude = [14.0, 17.5]")
    pending = next(s for s in Project.open(path).plan() if s.name == "plate_solving").pending
    assert [u.label for u in pending] == ["catalogue stars of the field"]
    entry = solving(solve(path)[0])
    assert (entry.done, [u.unit for u in entry.unusable]) == (1, ["f1.fits"])
    again = solving(solve(path)[0])
    assert (again.done, again.unusable, again.up_to_date) == (0, [], 3)  # two frames, and the stars
    # A region that the places cover already is no reason.
    change(path, "[plate_solving]", f"[roi.NEAR]\nra = {RA}\ndec = {DEC + 0.01}\n[plate_solving]")
    near = solving(solve(path)[0])
    assert (near.done, near.unusable) == (0, [])
    # Forced, the solved frame is made with the present stars, and is up to date from then on.
    forced = solving(solve(path, force=["plate_solving"])[0])
    assert (forced.done, len(forced.unusable)) == (2, 1)
    assert solving(solve(path)[0]).up_to_date == 3


def test_why_a_failed_frame_is_tried_again_is_told(make):
    path = make([(None, header())], "verify = false\nmin_success_fraction = 0.0")
    solve(path)
    change(path, f"ra = {RA}", f"ra = {RA + 1.0}")
    pending = next(s for s in Project.open(path).plan() if s.name == "plate_solving").pending
    assert [u.label for u in pending] == ["f0.fits"]
    assert pending[0].why == (f"tried_with.places: [[{RA},{DEC}]] -> [[{RA + 1.0},{DEC}]]",)


def test_a_reference_for_each_region(make):
    """A frame whose region no solved frame shows is tried again once one does, with both references."""
    path = make([GOOD], 'plugin = ["existing", "reference-frame"]\nverify = false\nmin_success_fraction = 0.0')
    change(path, "[plate_solving]", f"[roi.FAR]\nra = {RA + 3.0}\ndec = {DEC}\n[plate_solving]")
    far_frame(path, "f1.fits", None, 60001.0)
    report, frames = solve(path)
    assert list(frames["plate_solved"]) == [True, False]
    assert "form none of the patterns" in frames["comment"][1]
    assert solving(solve(path)[0]).unusable == []  # the same reference does not serve twice
    far_frame(path, "f2.fits", header(CRVAL1=RA + 3.0), 60002.0)
    report, frames = solve(path)
    assert list(frames["solver"]) == ["existing", "reference-frame", "existing"], report
    found = read_wcs(path.parent / frames["wcs_relpath"][1]).all_pix2world([[20, 200]], 0)
    np.testing.assert_allclose(found, WCS(header(CRVAL1=RA + 3.0)).all_pix2world([[20, 200]], 0), atol=0.2 / 3600)
    assert solving(solve(path)[0]).done == 0


def test_an_instrument_may_verify_where_others_do_not(make):
    path = make([(header(shift=60.0), header())], "verify = false\n[instrument.cam.plate_solving]\nverify = true")
    report, frames = solve(path)
    assert not frames["plate_solved"][0]
    assert "catalogue stars that it puts in the frame" in report.message


def test_an_instruments_search_radius_widens_the_query(make):
    path = make([GOOD], CATALOG + "\n[instrument.cam.plate_solving]\nsearch_radius = 0.2")
    stage = PlateSolving()
    stage.toolbox = Project.open(path).toolbox
    assert [r.radius for r in SolverStars(stage.toolbox).regions()] == [0.2]


def test_an_instruments_failures_are_its_own(make):
    own = "\n[instrument.cam.plate_solving]\nmin_success_fraction = 0.0\nretry_failed = true"
    path = make([(None, header())], own)
    for _ in range(2):
        report, _ = solve(path)
        assert (report.message, len(solving(report).unusable)) == ("", 1)
    with fits.open(path.parent / "raw" / "f0.fits") as file:
        file[0].header["INSTRUME"] = "other"
        file.writeto(path.parent / "raw" / "f1.fits")
    assert "0 of 1 frames of other are solved" in solve(path)[0].message


@pytest.mark.parametrize(("away", "places"), [(0.05, 1), (3.0, 2)])
def test_solvers_look_once_where_their_radius_reaches(make, monkeypatch, away, places):
    """Regions some arcminutes apart are two places for the verification's stars, not for solvers."""
    path = make([(None, header())], 'plugin = ["existing", "wheel"]\nmin_success_fraction = 0.0', "radius = 60.0")
    change(path, "[plate_solving]", f"[roi.B]\nra = {RA}\ndec = {DEC + away}\n[plate_solving]")
    project = Project.open(path)
    seen: list[tuple[str, float]] = []
    for tool in project.toolbox.all("plate_solving"):

        def note(self, sources, shape, hint, name=tool.name):
            seen.append((name, hint.dec))
            return NotSolved("no")

        monkeypatch.setattr(type(tool.instance), "solve", note)
    project.run(stop="plate_solving")
    stage = PlateSolving()
    stage.toolbox = project.toolbox
    assert len(SolverStars(stage.toolbox).regions()) == 2
    assert seen == [("existing", DEC), ("wheel", DEC), ("wheel", DEC + away)][: 1 + places]


def test_of_a_header_that_contradicts_itself_the_catalogue_chooses(make: Callable[..., Path]) -> None:
    """An older solution's PC, turned by 30 degrees, beside the right CD; and without a comparison a doubt."""
    truth = header()
    angle = np.radians(12.0 - 30.0)
    matrix = {"PC1_1": np.cos(angle), "PC1_2": -np.sin(angle), "PC2_1": np.sin(angle), "PC2_2": np.cos(angle)}
    stated = header(**matrix, CDELT1=-SCALE / 3600, CDELT2=SCALE / 3600)
    path = make([(stated, truth)])
    project = Project.open(path)
    assert project.run(stop="plate_solving").exit_code == 0
    assert project.doubts() == []
    where = sorted((path.parent / "frames").glob("*.wcs"))[0]
    found, right = (np.array(w.all_pix2world(20.0, 200.0, 0)) for w in (read_wcs(where), WCS(truth)))
    assert found == pytest.approx(right, abs=1e-9)
    path.write_text(path.read_text().replace("[plate_solving]\n", "[plate_solving]\nverify = false\n"))
    project = Project.open(path)
    project.run(stop="plate_solving")
    (doubt,) = project.doubts()
    assert doubt.kind == "ambiguous_wcs"
