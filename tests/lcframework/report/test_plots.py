from __future__ import annotations

import json
import logging
from concurrent.futures.process import BrokenProcessPool

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sqlmodel import Session, select

from lcframework import Project
from lcframework.report import KINDS, draw
from lcframework.report.plots import drawing, roi_model, star_photometry
from lcframework.report.plots.jobs import chart_jobs, footprint_jobs, jobs
from lcframework.report.results import read_results
from lcframework.storage.tables import Product, RoiInFrame
from lcframework.types import LcfError

FRAMES = 9


def expected_paths():
    frames = [f"frame_{i:02d}" for i in range(1, FRAMES + 1)]
    groups = ("CamA_r", "CamB_g")
    return (
        {f"sources/{k}.jpg" for k in frames}
        | {f"PSFs/{k}_ref.jpg" for k in frames}
        | {"footprints.jpg", "footprints_with_gaia_stars.jpg", "light_curves/Q.png", "light_curves/Q.pdf"}
        | {"finding_charts/Q.png", "finding_charts/Q.pdf"}
        | {f"star_photometry/{g}_{s}.jpg" for g in groups for s in "abcde"}
        | {f"normalization/{g}.{kind}" for g in groups for kind in ("jpg", "pdf")}
        | {f"ROI/Q_{g}.jpg" for g in groups}
    )


def test_all_plots_are_drawn_once(fresh):
    folder = fresh.project.workdir / "plots"
    before = dict(matplotlib.rcParams)
    drawn = draw(fresh.project, workers=1)
    assert {str(p.relative_to(folder)) for p in drawn} == expected_paths()
    for path in drawn:
        if path.suffix == ".pdf":
            assert path.read_bytes().startswith(b"%PDF")
            continue
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
        assert pixels.std() > 5, f"{path} is blank"
    assert set(json.loads((folder / "index.json").read_text())) == expected_paths()
    assert draw(fresh.project, workers=1) == []
    assert dict(matplotlib.rcParams) == before
    assert not list(folder.rglob("*.tmp"))


def test_only_what_changed_is_drawn_again(fresh):
    project = fresh.project
    draw(project, kinds=["psf", "footprints"])
    with Session(project.engine()) as session:
        row = session.exec(select(Product).where(Product.stage == "psf_modeling")).first()
        row.token = "another"
        session.add(row)
        session.commit()
        key = f"frame_{int(row.unit.split(':')[1]):02d}"
    (project.workdir / "plots/footprints.jpg").unlink()
    drawn = draw(project, kinds=["psf", "footprints"])
    assert sorted(p.name for p in drawn) == ["footprints.jpg", f"{key}_ref.jpg"]
    assert len(draw(project, kinds=["footprints"], only_missing=False)) == 2


def test_plots_of_frames_that_are_out_are_removed(fresh):
    project = fresh.project
    draw(project, kinds=["sources"])
    project.exclude(["frame_03"], "a satellite")
    assert draw(project, kinds=["sources"]) == []
    folder = project.workdir / "plots"
    assert not (folder / "sources/frame_03.jpg").exists()
    assert (folder / "sources/frame_04.jpg").exists()
    assert "sources/frame_03.jpg" not in json.loads((folder / "index.json").read_text())


def test_a_plot_that_fails_is_logged_and_the_others_are_drawn(fresh, caplog):
    (fresh.project.workdir / "frames/frame_02.fits").write_text("no longer an image")
    with caplog.at_level(logging.WARNING):
        drawn = draw(fresh.project, kinds=["sources"])
    assert len(drawn) == FRAMES - 1
    assert "sources/frame_02.jpg can't be drawn" in caplog.text


def test_a_damaged_index_means_that_plots_are_drawn_anew(fresh):
    draw(fresh.project, kinds=["footprints"])
    (fresh.project.workdir / "plots/index.json").write_text("{")
    assert len(draw(fresh.project, kinds=["footprints"])) == 2


def test_what_was_drawn_is_known_though_a_worker_dies(fresh, monkeypatch):
    def broken(workdir, todo, workers):
        yield drawing.render(workdir, todo[0])
        raise BrokenProcessPool

    monkeypatch.setattr(drawing, "_render_all", broken)
    with pytest.raises(LcfError, match=r"ended early.*fewer workers"):
        draw(fresh.project, kinds=["footprints"])
    monkeypatch.undo()
    assert [p.name for p in draw(fresh.project, kinds=["footprints"])] == ["footprints_with_gaia_stars.jpg"]


def test_an_unknown_kind_names_those_there_are(tiny):
    with pytest.raises(LcfError, match=r"no kind of plot psfs; kinds: sources, .*psf"):
        draw(tiny.project, kinds=["psfs"])


@pytest.mark.slow
def test_workers_draw_the_same(fresh, monkeypatch):
    monkeypatch.setattr(drawing, "_WORTH_WORKERS", 1)
    assert len(draw(fresh.project, workers=2, kinds=KINDS)) == len(expected_paths())
    assert draw(fresh.project, workers=2) == []


def test_every_kind_has_a_job(tiny):
    found = jobs(tiny.project, read_results(tiny.project), KINDS)
    assert {j.kind for j in found} == set(KINDS)
    marks = [j.fingerprint for j in found]
    assert len(set(marks)) == len(marks)
    again = jobs(tiny.project, read_results(tiny.project), KINDS)
    assert [j.fingerprint for j in again] == marks


def test_stacked_residuals_of_stars_are_noise(tiny):
    results = read_results(tiny.project)
    job = next(j for j in jobs(tiny.project, results, ["star_photometry"]) if "CamA" in j.paths[0])
    for stack in star_photometry.stacks(tiny.project.workdir, job.payload).values():
        sigma = stack.residual / np.sqrt(stack.variance)
        assert stack.count.min() == 6
        assert abs(np.std(sigma) - 1) < 4 / np.sqrt(2 * sigma.size)
        assert abs(np.mean(sigma)) < 4 / np.sqrt(sigma.size)
        np.testing.assert_allclose(np.median(stack.chi2), 1.0, atol=4 * np.sqrt(2 / sigma.size / 6) * 1.25)


def test_epochs_are_chosen_by_chi2():
    assert roi_model.chosen_epochs(np.array([1.2, 0.9, np.nan, 1.0])) == [("best", 1), ("median", 0), ("worst", 2)]
    assert roi_model.chosen_epochs(np.array([1.0])) == [("best", 0)]
    assert roi_model.chosen_epochs(np.zeros(0)) == []


def test_render_reports_which_plot_failed(tiny):
    def figures(workdir, payload):
        yield Figure(figsize=(1, 1))
        raise RuntimeError("no second plot")

    job = drawing.Job("psf", ("PSFs/one.jpg", "PSFs/two.jpg"), "mark", figures, None)
    assert drawing.render(tiny.project.workdir, job) == (["PSFs/one.jpg"], "RuntimeError: no second plot")


def moving(fresh, plugins):
    """Return the project with its region moving north, by a ten-thousandth of a degree a frame."""
    path = fresh.project.workdir / "project.toml"
    motion = 'ephemeris = "proper_motion"\n[roi.Q.proper_motion]\npmra = 0.0\npmdec = 1000.0\nref_epoch = 2016.0\n'
    path.write_text(path.read_text().replace("[roi.Q.point_sources]", f"{motion}[roi.Q.point_sources]"))
    project = Project.open(path, plugins)
    with Session(project.engine()) as session:
        for row in session.exec(select(RoiInFrame)):
            row.ra, row.dec = 150.0, -28.0 + 1e-4 * row.frame_id
            session.add(row)
        session.commit()
    return project


def test_finding_chart_of_a_moving_region_is_of_its_place_in_the_frame(fresh, plugins):
    project = moving(fresh, plugins)
    results = read_results(project)
    [job] = chart_jobs(project, results)
    [frame] = [f for f in results.used() if f.image_relpath == job.payload.image]
    assert (job.payload.ra, job.payload.dec) == (150.0, -28.0 + 1e-4 * frame.id)


def test_footprints_show_a_moving_region_where_frames_do(fresh, plugins):
    before = next(footprint_jobs(fresh.project, read_results(fresh.project)))
    assert before.payload.rois == (("Q", 0.0, 0.0),)
    assert before.payload.tracks == ()
    project = moving(fresh, plugins)
    results = read_results(project)
    job, _ = footprint_jobs(project, results)
    [track] = job.payload.tracks
    [(_, x, y)] = job.payload.rois
    shown = {r.frame_id for r in results.rois if r.roi_in_footprint}
    frames = sorted((f for f in results.used() if f.id in results.footprints and f.id in shown), key=lambda f: f.mjd)
    north = 60.0 * 1e-4 * np.array([f.id - frames[0].id for f in frames])  # arcmin from the first place
    np.testing.assert_allclose(track, np.column_stack([np.zeros(len(frames)), north]), atol=1e-5)
    assert (x, y) == tuple(track[len(frames) // 2])
    assert job.fingerprint != before.fingerprint
    next(job.figures(project.workdir, job.payload))
