"""`lcf prefetch` against a loopback TAP service; then the stages' own questions, with the service gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
from archives import gaia_and_panstarrs
from astropy.table import Table
from sqlmodel import Session

from lcframework.prefetch import prefetch
from lcframework.project import Project
from lcframework.sky.geometry import separation
from lcframework.sky.solver_stars import AskForSolverStars, SolverStars
from lcframework.sky.star_fields import disks
from lcframework.stages.calculate_absolute_zeropoints import FitZeropoint, Levels
from lcframework.stages.query_gaia_for_stars import ChooseStars, FieldQuery, star_rows
from lcframework.storage.tables import CombinedFootprint, DecidedSetting
from lcframework.types import NeedMissing

RA, DEC = 359.99, 12.0


def tables(count: int = 60) -> dict[str, Table]:
    """Return stars around a position, as Gaia and Pan-STARRS would have them, some of them fast."""
    rng = np.random.default_rng(5)
    stars = Table()
    stars["ra"] = (RA + rng.uniform(-0.09, 0.09, count)) % 360.0
    stars["dec"] = DEC + rng.uniform(-0.09, 0.09, count)
    stars["ref_epoch"] = 2016.0
    stars["pmra"], stars["pmdec"] = rng.normal(0.0, 50.0, (2, count))
    stars["phot_g_mean_mag"] = rng.uniform(15.0, 19.5, count)
    stars["phot_bp_mean_mag"], stars["phot_rp_mean_mag"] = (
        stars["phot_g_mean_mag"] + 0.4,
        stars["phot_g_mean_mag"] - 0.6,
    )
    return gaia_and_panstarrs(stars, stars["phot_g_mean_mag"])


@pytest.fixture
def server(tap_service: Callable[..., Any]) -> Any:
    return tap_service(tables())


def project_file(folder: Path, url: str, stars: str = "", solver: str = "catalog", run: str = "") -> Path:
    (folder / "raw").mkdir(exist_ok=True)
    path = folder / "project.toml"
    stars += "" if "magnitude" in stars else "\nmagnitude = [16.0, 20.0]"
    path.write_text(
        f"[roi.one]\nra = {RA}\ndec = {DEC}\n[roi.two]\nra = 0.01\ndec = 12.02\n"
        f'[plate_solving]\nplugin = "{solver}"\npixel_scale = [0.4, 0.5]\nsearch_radius = 0.1\n'
        f"[stars]\nradius = 200.0\n{stars}\n"
        f'[stars.gaia]\nurl = "{url}"\nmirror = ""\ntimeout = 5.0\nretries = 0\n'
        f'[calibration]\nplugin = "panstarrs"\nband = "r"\nbands = {{ "i.SDSS" = "i" }}\n'
        f'[calibration.panstarrs]\nurl = "{url}"\ntimeout = 5.0\nretries = 0\n'
        f"[run]\n{run}\n"
    )
    return path


def task(cls: type[Any], project: Project) -> Any:
    return cls("a stage", project.toolbox)


def test_what_a_run_asks_for_is_stored(tmp_path: Path, server: Any, lcf: Callable[..., Any]) -> None:
    path = project_file(tmp_path, server.url)
    ended = lcf("prefetch", path, "--json")
    assert ended.code == 0, ended.out + ended.err
    answer = json.loads(ended.out)
    assert answer["complete"]
    assert [(a["stage"], a["plugin"], a["state"]) for a in answer["answers"]] == [
        ("plate_solving", "gaia", "fetched"),
        ("query_gaia_for_stars", "gaia", "fetched"),
        ("calculate_absolute_zeropoints", "panstarrs", "fetched"),
        ("calculate_absolute_zeropoints", "panstarrs", "stored"),  # both bands are in one answer
        ("query_gaia_for_stars", "gaia", "fetched"),
        ("calculate_absolute_zeropoints", "panstarrs", "fetched"),
        ("calculate_absolute_zeropoints", "panstarrs", "stored"),
    ]
    assert len(server.log) == 5
    server.close()

    project = Project.open(project_file(tmp_path, server.url, run="offline = true"))
    asking = task(AskForSolverStars, project)
    assert len(asking.compute(SolverStars(project.toolbox).regions())) == answer["answers"][0]["rows"] > 20
    for field, expected in zip(disks(project.config), answer["answers"][1::3], strict=True):
        query = FieldQuery(field.hash, field.region, field.rois, {})
        table = task(ChooseStars, project).compute(query)
        assert len(table) == expected["rows"]
        # A run measures some of the stars, in the order of its database.
        rows = star_rows(table, query)
        some = rows[2:9]
        levels = Levels(field.hash, "cam", "i.SDSS", "i", some, [100.0] * 7, [1.0] * 7, rows[::-1])
        calibrated = task(FitZeropoint, project).compute(levels)
        assert list(calibrated.magnitudes["source_id"]) == sorted(r["gaia_id"] for r in some)
    assert lcf("prefetch", path).code == 0  # all stored: the service isn't missed


def test_variable_stars_are_asked_for_too(tmp_path: Path, tap_service: Callable[..., Any]) -> None:
    """Where the region has one and where it has none, which is an answer too."""
    every = tables()
    stars = every["gaiadr3.gaia_source"]
    of_one, of_two = (separation(stars["ra"], stars["dec"], *place) for place in ((RA, DEC), (0.01, 12.02)))
    star = stars[np.argmax((of_one < 195.0) & (of_two > 205.0) & (stars["phot_g_mean_mag"] > 16.1))]
    years = (2000.0 - 2016.0) / 3.6e6
    ra = star["ra"] + star["pmra"] * years / np.cos(np.radians(star["dec"]))
    every["B/vsx/vsx"] = Table({"Name": ["V1 Psc"], "V": [0], "RAJ2000": [ra % 360.0],
                                "DEJ2000": [star["dec"] + star["pmdec"] * years], "Type": ["RR"]})  # fmt: skip
    server = tap_service(every)
    path = project_file(tmp_path, server.url)
    path.write_text(path.read_text().replace("timeout = 5.0", "timeout = 60.0"))
    with path.open("a") as stream:
        stream.write(f'[variables]\nplugin = "vsx"\n[variables.vsx]\nserver = "{server.url}"\nretries = 0\n')
    plugins = pages.builtin_plugins()
    found = prefetch(Project.open(path, plugins))
    assert found.complete, found
    assert sum("B/vsx" in adql for _, adql in server.log) == 2
    server.close()
    project = Project.open(path, plugins)
    for field in disks(project.config):
        table = task(ChooseStars, project).compute(FieldQuery(field.hash, field.region, field.rois, {}))
        known = [str(name) for name in table["known_variable"] if name]
        assert known == (["V1 Psc (RR, 0.0 arcsec away)"] if field.rois == ("one",) else [])


def test_offline_in_the_project_is_overruled(tmp_path: Path, server: Any) -> None:
    found = prefetch(Project.open(project_file(tmp_path, server.url, run="offline = true")))
    assert found.complete
    assert len(server.log) == 5


def test_a_dead_service_is_a_failure_that_names_it(tmp_path: Path, server: Any, lcf: Callable[..., Any]) -> None:
    path = project_file(tmp_path, server.url)
    server.close()
    ended = lcf("prefetch", path)
    assert ended.code == 1
    assert "failed     gaia: stars within 200 arcsec of 359.99000 +12.00000 (one)" in ended.out
    assert "no service gave a whole answer" in ended.out
    assert "would lack" in ended.err


def test_one_service_down_leaves_the_others_answers(tmp_path: Path, server: Any) -> None:
    del server.tables["II/349/ps1"]
    found = prefetch(Project.open(project_file(tmp_path, server.url)))
    assert {(a.plugin, a.state) for a in found.answers} == {("gaia", "fetched"), ("panstarrs", "failed")}


def test_too_few_stars_are_said(tmp_path: Path, server: Any) -> None:
    path = project_file(tmp_path, server.url, stars="magnitude = [15.0, 15.1]")
    found = prefetch(Project.open(path))
    failed = [a for a in found.answers if a.state == "failed"]
    assert failed
    assert "min_number" in failed[0].reason or "no stored answer" in failed[0].reason


def test_fields_known_after_plate_solving(tmp_path: Path, server: Any, lcf: Callable[..., Any]) -> None:
    path = project_file(tmp_path, server.url, stars='strategy = "common_footprint"')
    ended = lcf("prefetch", path)
    assert ended.code == 3
    assert "--stop calculate_common_and_total_footprint" in ended.out
    corners = [[359.92, 11.94], [0.04, 11.94], [0.04, 12.06], [359.92, 12.06]]
    project = Project.open(path)
    with Session(project.engine()) as session:
        row = CombinedFootprint(hash="x", strategy="common_footprint", rois=["one", "two"], ra=RA, dec=DEC, radius=0.1,
                                region=corners, common=corners, total=[corners], active=True)  # fmt: skip
        session.add(row)
        session.commit()
    ended = lcf("prefetch", path)
    assert ended.code == 0, ended.out + ended.err
    assert "(one, two)" in ended.out


def test_what_frames_decide_is_asked_for_once_they_are_solved(
    tmp_path: Path, server: Any, lcf: Callable[..., Any]
) -> None:
    path = project_file(tmp_path, server.url, stars='magnitude = "auto"')
    ended = lcf("prefetch", path)
    assert ended.code == 3
    assert "the frames decide stars.magnitude once they are plate solved" in ended.out
    project = Project.open(path)
    with Session(project.engine()) as session:
        row = DecidedSetting(instrument="", setting="stars.magnitude", value=[15.0, 19.0], frames=9, wanted=9)
        session.add(row)
        session.commit()
    ended = lcf("prefetch", path)
    assert ended.code == 0, ended.out + ended.err
    assert any("19" in query for query in map(str, server.log))


def test_a_solver_that_is_itself_a_service(tmp_path: Path, server: Any, lcf: Callable[..., Any]) -> None:
    ended = lcf("prefetch", project_file(tmp_path, server.url, solver="nova"))
    assert ended.code == 3
    assert "impossible nova: solutions of the frames" in ended.out


def test_the_offline_tools_fail_without_prefetch(tmp_path: Path, server: Any) -> None:
    project = Project.open(project_file(tmp_path, server.url, run="offline = true"))
    with pytest.raises(NeedMissing, match="lcf prefetch"):
        task(AskForSolverStars, project).compute(SolverStars(project.toolbox).regions())
    assert server.log == []
