"""docs/data_at_rest.md agrees with the tables, columns, datasets and flags of the code."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import attrs
import h5py
import numpy as np
import pages
import pytest
from astropy.io import fits
from sqlmodel import SQLModel

from lcframework.report.plots import jobs
from lcframework.roi.cutout_files import FitFile, PreparedEpochs, write_cutouts, write_fit
from lcframework.roi.epochs import filled
from lcframework.roi.light_curves import join, per_night, write_light_curve
from lcframework.storage import tables as database  # noqa: F401 - makes the tables known
from lcframework.storage.frame_files import write_frame
from lcframework.storage.psf_files import write_psf
from lcframework.storage.regions_file import FrameFiles, write_regions
from lcframework.storage.stamp_files import Stamp, write_stamps
from lcframework.types import (
    EPOCH_COLUMNS,
    NIGHT_COLUMNS,
    PSF,
    SOURCE_COLUMNS,
    SOURCE_NIGHT_COLUMNS,
    VISIT_COLUMNS,
    Cutouts,
    EpochFlag,
    Estimators,
    FitState,
    FitStatus,
    FluxWeights,
    FrameFlag,
    HighResolution,
    Kernels,
    PixelFlag,
    RoiFit,
)

PAGE = pages.read("data_at_rest.md")
TABLES = sorted(SQLModel.metadata.tables)
E, N, M, K = 3, 8, 16, 2


def names(title: str, table: int = 0) -> list[str]:
    """Return the first cells of the n-th table of a section, without marks."""
    text = pages.section(PAGE, title).text
    found = re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE)
    rows = [line.split("|")[1].strip(" *`") for line in found[table].splitlines()]
    return rows[2:]


@pytest.mark.parametrize("table", TABLES)
def test_columns_are_those_of_the_database(table: str) -> None:
    assert names(table) == [column.name for column in SQLModel.metadata.tables[table].columns]


@pytest.mark.parametrize("table", TABLES)
def test_keys_are_bold(table: str) -> None:
    bold = re.findall(r"^\| \*\*`(\w+)`\*\*", pages.section(PAGE, table).text, re.MULTILINE)
    assert bold == [c.name for c in SQLModel.metadata.tables[table].primary_key]


def test_no_table_is_invented() -> None:
    found = pages.sections(PAGE)
    start = next(i for i, s in enumerate(found) if s.title == "The database")
    assert sorted(s.title for s in found[start + 1 :]) == TABLES


@pytest.mark.parametrize(("flags", "which"), [(PixelFlag, 0), (FrameFlag, 1), (EpochFlag, 2)])
def test_flags(flags: type[PixelFlag], which: int) -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", pages.section(PAGE, "Mask bits").text, re.MULTILINE)
    sizes = [len(PixelFlag), len(FrameFlag), len(EpochFlag)]
    mine = rows[sum(sizes[:which]) : sum(sizes[: which + 1])]
    assert [(int(bit), name) for bit, name in mine] == [(f.value, f.name) for f in flags]


def fit_file() -> FitFile:
    ones = np.ones(E)
    fit = RoiFit(
        flux=np.full((E, K), 100.0),
        covariance=np.tile(np.eye(K), (E, 1, 1)),
        common_covariance=np.tile(np.eye(K), (E, 1, 1)),
        offset=np.zeros((K, 2)),
        offset_covariance=np.eye(2 * K),
        translation=np.zeros((E, 2)),
        high_resolution=HighResolution(np.zeros((M, M)), np.zeros((M, M)), np.zeros((2, 3))),
        model=np.zeros((E, N, N)),
        outliers=np.zeros((E, N, N), bool),
        reduced_chi2=ones,
        status=FitStatus(FitState.CONVERGED),
    )
    columns = filled(E, frame_id=np.arange(E), mjd=60001.0, bjd_tdb=2460001.5, band="r", instrument="camera")
    return FitFile("camera", "r", ["A", "B"], fit, columns, 25.0, 0.01, "AB")


def with_sources(columns: list[str]) -> list[str]:
    """Return documented columns with those of each source, A first."""
    first = next(i for i, c in enumerate(columns) if c.startswith("<S>"))
    own = [c for c in columns if c.startswith("<S>")]
    expanded = [c.replace("<S>", s) for s in "AB" for c in own]
    return columns[:first] + expanded + columns[first + len(own) :]


def test_light_curve_columns(tmp_path: Path) -> None:
    table = join([fit_file()])
    nightly = per_night(table, ["A", "B"], 0.0)
    write_light_curve(tmp_path, "roi", table, nightly, ["AB"])
    for which, night in ((0, "epoch"), (1, "night")):
        head = (tmp_path / f"roi_photometry_per_{night}.csv").read_text().splitlines()[0].split(",")
        assert head == with_sources(names("Light curves", which))
    head = (tmp_path / "roi_photometry_per_visit.csv").read_text().splitlines()[0].split(",")
    assert head == [*names("Light curves", 2), *with_sources(names("Light curves", 1))[1:]]


UNITS = {"electron / s": "e-/s", "pix": "pixels", "deg": "degrees"}


@pytest.mark.parametrize(
    ("which", "columns", "of_sources"), [(0, EPOCH_COLUMNS, SOURCE_COLUMNS), (1, NIGHT_COLUMNS, SOURCE_NIGHT_COLUMNS),
     (2, VISIT_COLUMNS[:2], ())],
)  # fmt: skip
def test_units_and_meanings_of_light_curve_columns(which: int, columns: Any, of_sources: Any) -> None:
    text = pages.section(PAGE, "Light curves").text
    rows = re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE)[which].splitlines()[2:]
    documented = [tuple(cell.strip(" `") for cell in row.strip("|").split("|")) for row in rows]
    every = [*columns, *(attrs.evolve(c, name=f"<S>_{c.name}") for c in of_sources)]
    assert documented == [(c.name, UNITS.get(c.unit, c.unit), c.meaning.replace("<system> ", "")) for c in every]


def test_fit_datasets_and_attributes(tmp_path: Path) -> None:
    write_fit(tmp_path / "fit.h5", fit_file())
    title = "<roi>_<instrument>_<band>_fit.h5"
    with h5py.File(tmp_path / "fit.h5") as file:
        assert leaves(file) == set(names(title))
        documented = re.search(r"Attributes: (.*?)\. ", pages.section(PAGE, title).text)
        assert documented is not None
        assert set(documented[1].replace("`", "").split(", ")) == set(file.attrs)


def leaves(group: h5py.Group) -> set[str]:
    found: set[str] = set()
    group.visititems(lambda name, item: found.add(name) if isinstance(item, h5py.Dataset) else None)
    return found


def test_cutout_datasets(tmp_path: Path) -> None:
    ones = np.ones(E)
    stamps = np.ones((E, N, N))
    cutouts = Cutouts(
        stamps, stamps, stamps > 2, Kernels(np.ones((E, M, M)), 2, 2.0), np.zeros((E, 2, 3)), np.zeros((E, 2, 2)),
        ones, ones, ones, ones,
        estimators=Estimators(np.ones((E, 2)), np.ones((E, 3)), FluxWeights(np.ones(1), np.ones((1, 3)))),
    )  # fmt: skip
    epochs = PreparedEpochs(cutouts, filled(E), np.zeros((E, 2)), ["x"] * E, 25.0, 0.01, "AB")
    write_cutouts(tmp_path / "cutouts.h5", epochs)
    with h5py.File(tmp_path / "cutouts.h5") as file:
        assert leaves(file) == set(names("cutouts_<roi>_<instrument>_<band>.h5"))


def test_regions_layout_and_snippet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.arange(N * N, dtype=np.float32).reshape(N, N)
    stamp = Stamp(data, data + 1, np.zeros((N, N), np.uint8), (3, 4), (0.1, 0.2), "SIMPLE")
    write_stamps(tmp_path / "regions/one/stamps_x.h5", {"123": stamp, "J0248": stamp}, (100, 200))
    psf = PSF(np.ones((M, M)), np.ones((M, M)), 2, 2.0, FitStatus(FitState.CONVERGED), 1.0,
              distortion={"shear": np.zeros(2)}, frame_shape=(100, 200))  # fmt: skip
    write_psf(tmp_path / "regions/one/psf_ab_x.h5", psf, ["123"])
    write_regions(
        tmp_path, {"one": FrameFiles(["regions/one/stamps_x.h5"], {"ab": "regions/one/psf_ab_x.h5"})}, "J0248"
    )

    documented = [p.replace("<key>", "one").replace("<ref>", "ab") for p in names("regions.h5")]
    with h5py.File(tmp_path / "regions.h5") as file:
        for path in documented:
            for name in ("123", "J0248", "ROI") if "<name>" in path else ("",):
                assert path.replace("<name>", name) in file
        group = file["frames/one"]
        assert {f"frames/one/{k}" for k in group} == {"/".join(p.split("/")[:3]) for p in documented}
        inside = {p.split("/")[3] for p in documented if "psf_ab/" in p}
        assert set(group["psf_ab"]) == inside

    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(pages.blocks(pages.section(PAGE, "regions.h5").text, "python")[0], {})
    assert printed.getvalue().splitlines() == [f"{n} (8, 8) {63 / 64:.7g}" for n in ("123", "J0248", "ROI")]


def test_imported_frames_snippet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "frames").mkdir()
    image, flags = np.arange(12, dtype=np.float32).reshape(3, 4) / 8, np.full((3, 4), 5, np.uint8)
    write_frame(tmp_path / "frames/quad_0000.fits", image, flags, fits.Header())
    monkeypatch.chdir(tmp_path)
    read: dict[str, Any] = {}
    exec(pages.blocks(pages.section(PAGE, "Imported frames").text, "python")[0], read)
    np.testing.assert_array_equal(read["image"], image)
    np.testing.assert_array_equal(read["flags"], flags)


def test_plots_are_those_that_are_drawn() -> None:
    source = Path(jobs.__file__).read_text(encoding="utf-8")
    drawn = {re.sub(r"\{.*\}", "", path) for path in re.findall(r'"([^"\n]*\.(?:jpg|png))"', source)}
    assert {re.sub(r"<.*>", "", name) for name in names("Plots")} == drawn
