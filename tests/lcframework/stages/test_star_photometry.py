"""Star photometry: PSFs of different samplings and stamps of different sizes in one batch; records of what is gone."""

from __future__ import annotations

from types import SimpleNamespace

import attrs
import numpy as np
import pytest
from sqlmodel import Session

from lcframework.config.toolbox import Tool
from lcframework.frames.frame_folders import FLAT, folder_of
from lcframework.frames.stamping import noise_map
from lcframework.stages.psf_modeling import FitPsfs, PsfPayload, PsfValues
from lcframework.stages.star_photometry import MeasureStars, StarPhotometry
from lcframework.stars.measuring import FrameStars, PhotometryPayload, PhotometryValues
from lcframework.storage.files import beside
from lcframework.storage.records import Replace, Update
from lcframework.storage.stamp_files import Stamp
from lcframework.types import PSF, FitState, FitStatus, PhotometryResult
from lcframework.work import Entry, FrameKey, Ledger, StarKey, Unit

CONVERGED = FitStatus(FitState.CONVERGED)


def stamp(size: int = 12) -> Stamp:
    zeros = np.zeros((size, size))
    return Stamp(zeros, zeros + 1, zeros.astype(np.uint8), (40, 40), (0.0, 0.0), "")


def values(frame: int, factor: int = 2, size: int = 25, stamps: int = 12, stars: int = 3) -> PhotometryValues:
    ids = tuple(f"s{j}" for j in range(stars))
    payload = PhotometryPayload((FrameStars(frame, "field", "camera", "", "", "", ids),))
    kernel = np.full((size, size), 1.0 / size**2)
    psf = PSF(kernel, kernel, factor, 2.0, CONVERGED, 1.0)
    return PhotometryValues(payload, [stamp(stamps)] * stars, [psf], [(0, i) for i in ids])


class Measuring:
    """A photometry plugin that gives as fluxes the sampling and the sizes it was told."""

    joint = False

    def __init__(self) -> None:
        self.batches: list[int] = []

    def measure(self, stamps, kernels) -> PhotometryResult:
        n = len(stamps.data)
        assert kernels.values.shape[0] == n
        self.batches.append(n)
        flux = np.full(n, 10000.0 * kernels.subsampling_factor + 100 * kernels.values.shape[1] + stamps.data.shape[1])
        zeros = np.zeros(n)
        return PhotometryResult(
            flux, zeros, zeros, zeros, np.ones((n, 3, 3)), zeros, (CONVERGED,) * n, stamps.data, stamps.data > 1
        )


def task(photometry, psf=None, kind=MeasureStars, noise_correlation=1.0):
    model = psf or SimpleNamespace(at=lambda psf, xy: np.repeat(psf.narrow[None], len(xy), axis=0))
    tools = {"photometry": Tool("photometry", "here", photometry, 1), "psf": Tool("psf", "here", model, 1)}
    stamps = SimpleNamespace(noise_correlation=noise_correlation)
    config = SimpleNamespace(photometry=SimpleNamespace(aperture=0.0), stamps=stamps)
    toolbox = SimpleNamespace(tool=lambda section, instrument="": tools[section], config_for=lambda instrument: config)
    return kind("star_photometry" if kind is MeasureStars else "psf_modeling", toolbox)


@pytest.mark.parametrize("shared", [1.0, 2.5])
def test_stamps_come_with_what_their_light_adds_to_the_variance(shared):
    """As much as :func:`lcframework.frames.stamping.noise_map` put into their noise; nothing where it is not known."""
    seen = []

    class Looking(Measuring):
        def measure(self, stamps, kernels):
            seen.append(stamps.photon_variance)
            return super().measure(stamps, kernels)

    batch = [values(frame) for frame in (1, 2)]
    known = attrs.evolve(batch[1].payload.frames[0], exptime=100.0)
    batch[1] = attrs.evolve(batch[1], payload=PhotometryPayload((known,)))
    results = task(Looking(), noise_correlation=shared).compute_batch(batch)
    light = np.array([[0.0, 50.0]], np.float32)
    variance = noise_map(light, 2.0, 100.0, shared) ** 2
    assert variance[0, 1] - variance[0, 0] == pytest.approx(50.0 * seen[0][3])
    np.testing.assert_allclose(seen[0], np.array([0, 0, 0, 0.01, 0.01, 0.01]) / shared)
    # Fluxes have the noise that pixels share, too.
    assert all((r.covariance == shared).all() for r in results)


def test_each_frame_is_measured_with_its_own_sampling():
    measuring = Measuring()
    batch = [values(1), values(2, factor=3), values(3, size=31), values(4, stars=5), values(5, stamps=16)]
    results = task(measuring).compute_batch(batch)
    assert [r.flux.tolist() for r in results] == [[22512.0] * 3, [32512.0] * 3, [23112.0] * 3, [22512.0] * 5,
                                                  [22516.0] * 3]  # fmt: skip
    assert sorted(measuring.batches) == [3, 3, 3, 8]  # those alike are measured together


def test_psfs_of_stamps_of_different_sizes():
    sizes = []

    def fit(batch):
        sizes.append(batch.data.shape)
        kernel = np.full((5, 5), 0.04)
        return [PSF(kernel, kernel, 2, 2.0, CONVERGED, float(batch.data.shape[-1])) for _ in batch.data]

    payload = PsfPayload(0, "field", "", "camera", (100, 100), 3.0, ("a",), ("a",))
    batch = [PsfValues(payload, [stamp(size)]) for size in (12, 16, 12)]
    results = task(Measuring(), SimpleNamespace(fit=fit), FitPsfs).compute_batch(batch)
    assert [r.reduced_chi2 for r in results] == [12, 16, 12]
    assert sorted(sizes) == [(1, 1, 16, 16), (2, 1, 12, 12)]


def test_what_a_frame_had_goes():
    unit = Unit(FrameKey(7, "f"), "seven", {}, None, 7)
    where = {"combined_footprint_hash": "f", "frame_id": 7}
    comment, gone = task(Measuring()).unusable_records(unit, "why")
    assert comment == Update("frames", {"id": 7}, {"comment": "star_photometry: why"})
    assert gone == Replace("star_flux_in_frame", where)
    records = task(Measuring(), kind=FitPsfs).unusable_records(unit, "why")
    assert records[1:] == (
        Replace("PSFs", where), Replace("star_flux_in_frame", where),
        Replace("products", {"stage": "star_photometry", "unit": "frame:7:f"}),
    )  # fmt: skip


@pytest.mark.parametrize("star", ["s1", "odd:name"])
def test_what_a_star_had_in_all_frames_goes(star):
    measuring = Measuring()
    measuring.joint = True
    unit = Unit(StarKey(star, "f", "camera", "r"), "star", {"frames": {"3": {}, "4": {}}}, None)
    assert task(measuring).unusable_records(unit, "why") == tuple(
        Replace("star_flux_in_frame", {"combined_footprint_hash": "f", "frame_id": i, "gaia_id": star}) for i in (3, 4)
    )
    # Stars that are measured in many frames are measured again without this one.
    frame = Unit(FrameKey(7, "f"), "seven", {}, None, 7)
    records = task(measuring, kind=FitPsfs).unusable_records(frame, "why")
    assert [r.table for r in records] == ["frames", "PSFs"]


def test_a_star_that_is_measured_in_fewer_frames():
    frames = tuple(FrameStars(i, "f", "camera", "", "", "", ("s1",)) for i in (3, 4))
    payload = PhotometryPayload(frames, "s1", (5,))
    unit = Unit(StarKey("s1", "f", "camera", "r"), "star", {}, payload)
    nothing = np.zeros(0)
    result = PhotometryResult(*[nothing] * 4, np.zeros((0, 3, 3)), nothing, (), nothing, nothing > 0)
    records = task(Measuring()).save(unit, PhotometryValues(payload, [], [], []), result).records
    assert [r.where for r in records] == [
        {"combined_footprint_hash": "f", "frame_id": i, "gaia_id": "s1"} for i in (3, 4, 5)
    ]


def test_rows_hold_each_number_in_its_column():
    """Positions are in the frame, from stamps whose first pixel is (40, 40); errors are roots of the variances."""
    measured = values(7, stars=1)
    result = PhotometryResult(
        np.array([500.0]), np.array([0.25]), np.array([-0.75]), np.array([0.125]), np.diag([16.0, 0.04, 0.09])[None],
        np.array([1.5]), (CONVERGED,), np.zeros((1, 12, 12)), np.eye(12, dtype=bool)[None],
    )  # fmt: skip
    placed = attrs.evolve(measured, stamps=[attrs.evolve(measured.stamps[0], offset=(0.5, -0.25))])
    unit = Unit(FrameKey(7, "field"), "frame", {}, placed.payload, 7)
    (replaced,) = MeasureStars("star_photometry", SimpleNamespace()).save(unit, placed, result).records
    (row,) = replaced.rows
    assert {k: row[k] for k in ("flux", "flux_uncertainty", "background", "chi2", "masked_outliers")} == {
        "flux": 500.0, "flux_uncertainty": 4.0, "background": 0.125, "chi2": 1.5, "masked_outliers": 12,
    }  # fmt: skip
    place = [row[k] for k in ("x", "y", "x_offset", "y_offset", "x_uncertainty", "y_uncertainty")]
    assert place == pytest.approx([45.75, 44.75, -0.25, -0.5, 0.2, 0.3])


def test_old_files_of_fluxes_are_deleted_wherever_the_frame_has_its_folder(engine, tmp_path):
    kept, old = [], []
    for folder in (f"regions/{folder_of(1, 60369.2, 0.0)}", f"regions/{folder_of(FLAT + 1, 60369.2, 0.0)}"):
        kept.append(f"{folder.rstrip('/')}/frame/fluxes_new.h5")
        old.append(f"{folder.rstrip('/')}/frame/fluxes_old.h5")
    stamps = [beside(path, "stamps_old.h5") for path in old]
    for path in (*kept, *old, *stamps):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    name = StarPhotometry.name
    made = {
        str(FrameKey(i, "field")): Entry(name, str(FrameKey(i, "field")), "f", 1, "t", "made", "", path, 1.0)
        for i, path in enumerate(kept)
    }
    stage = StarPhotometry()
    with Session(engine) as session:
        stage.finish(session, Ledger({name: made}).seen_by(name, stage.needs), tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.h5")}
    assert left == {*kept, *stamps}
