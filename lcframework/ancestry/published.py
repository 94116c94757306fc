"""What the files of the light curves hold: the published tables, the fits and the cutouts; each is read once."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from lcframework.roi.cutout_files import FOLDER
from lcframework.roi.light_curves import table_name
from lcframework.types import Floats, source_names

#: A row of a published table: texts by the names of the columns.
CurveRow = Mapping[str, str]


@attrs.frozen(eq=False)
class GroupFile:
    """What a file of fits or cutouts says of each epoch; arrays begin with the epoch.

    `problem` says why it can't be read; there are no epochs then.
    """

    index: Mapping[int, int] = attrs.field(factory=dict)  # by frame id
    arrays: Mapping[str, Floats] = attrs.field(factory=dict)
    names: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = attrs.field(factory=dict)
    problem: str = ""


class Published:
    """The tables, fits and cutouts of a workdir."""

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
        self._curves: dict[str, dict[int, CurveRow]] = {}
        self._files: dict[str, GroupFile] = {}

    def curve(self, roi: str) -> Mapping[int, CurveRow]:
        """Return the rows of a region's table of epochs by frame id; none where there is no table."""
        if roi not in self._curves:
            self._curves[roi] = _read_curve(self.path_of(roi))
        return self._curves[roi]

    def path_of(self, roi: str) -> Path:
        """Return the path of a region's table of epochs."""
        return self._workdir / FOLDER / table_name(roi, "csv")

    def sources_of(self, roi: str) -> list[str]:
        """Return the point sources that the light curve of a region has."""
        row = next(iter(self.curve(roi).values()), {})
        return source_names(row)

    def fit(self, path: str) -> GroupFile:
        """Return what a fit says of its epochs."""
        return self._read(path, ("flux", "covariance", "common_covariance", "translation", "reduced_chi2"), "outliers")

    def cutouts(self, path: str) -> GroupFile:
        """Return what a file of cutouts says of its epochs."""
        return self._read(path, ("registration", "registration_covariance"), "mask")

    def _read(self, path: str, names: tuple[str, ...], pixels: str) -> GroupFile:
        if path not in self._files:
            self._files[path] = _read_group(self._workdir / path, names, pixels) if path else GroupFile()
        return self._files[path]


def _read_curve(path: Path) -> dict[int, CurveRow]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return {int(float(row["frame_id"])): row for row in csv.DictReader(stream)}
    except FileNotFoundError:
        return {}


def _read_group(path: Path, names: tuple[str, ...], pixels: str) -> GroupFile:
    """Read arrays of a file, and how many pixels of each epoch are true in the array `pixels` (n, ny, nx)."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            arrays = {name: np.asarray(file[name][()], float) for name in names}
            flagged = file[pixels][()]
            arrays[pixels] = flagged.sum(axis=(1, 2))
            arrays["pixels"] = np.full(len(flagged), flagged[0].size if len(flagged) else 0)
            for name in ("offset", "offset_covariance"):
                if name in file:
                    arrays[name] = np.asarray(file[name][()], float)
            found = {int(i): k for k, i in enumerate(file["frame_id"][()])}
            sources = tuple(n.decode() for n in file["sources"][()]) if "sources" in file else ()
            return GroupFile(found, arrays, sources, dict(file.attrs))
    except (OSError, KeyError, ValueError) as error:
        return GroupFile(problem=f"{path.name} can't be read: {error}")


def number(row: CurveRow | None, name: str) -> float:
    """Return a number of a published row; nan where it is empty or not there."""
    try:
        return float((row or {}).get(name, "") or "nan")
    except ValueError:
        return float("nan")
