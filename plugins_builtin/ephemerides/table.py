"""The ephemeris ``table``: a target whose positions are in a table, such as one of JPL Horizons."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import mapping_of, one_of
from lcframework.sky.geometry import ARCSEC
from lcframework.types import Floats, Ints, Moments, UnusableInput
from plugins_builtin.shared.ephemeris_files import COLUMNS, read_ephemeris, tdb_of_utc
from plugins_builtin.shared.sky_positions import angles, unit_vectors

#: A cubic spline without a knot at the last but one needs so many points.
_LEAST = 4
#: Points on either side of one that is left out, of the spline that tells it.
_SIDE = 6
_MJD_ZERO = 2400000.5


@attrs.frozen
class Table:
    """Positions of a table, interpolated by a cubic spline of the directions.

    Before the first and after the last time there is no position. The error is what each entry differs by from the
    spline through its neighbours: more than that of the interpolation, where the table is dense enough.
    """

    results_version: ClassVar[int] = 1

    path: Path = Path("ephemeris.ecsv")  # any table that astropy reads, or a text of Horizons
    # columns of the table; one that is not named is looked for by the names that Horizons and the MPC give it
    columns: Mapping[str, str] = attrs.field(factory=dict, validator=mapping_of(COLUMNS, "a column"))
    # of the times; empty: what the column of times says itself
    time_scale: str = attrs.field(default="", validator=one_of("utc", "tdb", "tt", "tai", empty="to have it read"))

    def positions(self, ra: float, dec: float, moments: Moments) -> tuple[Floats, Floats]:
        """Return the interpolated place for each of the times.

        Raises
        ------
        NeedMissing
            Where the file, one of its columns or the scale of its times is missing.
        UnusableInput
            Where a time lies outside the table, or the table can't be used.
        """
        track = self._track()
        return angles(track.at(self._times(track, moments)))

    def position_errors(self, moments: Moments) -> Floats:
        """Return the greater error (n,) of the two entries around each of the times, arcsec; raises as `positions`."""
        track = self._track()
        after = np.clip(np.searchsorted(track.time, self._times(track, moments)), 1, len(track.time) - 1)
        error = {int(i): track.left_out(int(i)) for i in np.unique([after - 1, after])}
        return np.array([max(error[i - 1], error[i]) for i in after.tolist()], float)

    def _track(self) -> _Track:
        try:
            stat = self.path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
        except OSError:
            stamp = (0, 0)  # what reads it says that it is not there
        return _read(self.path, tuple(self.columns.items()), self.time_scale, stamp)

    def _times(self, track: _Track, moments: Moments) -> Floats:
        time = tdb_of_utc(moments.mjd)
        outside = (time < track.time[0]) | (time > track.time[-1])
        if outside.any():
            first, last = track.time[[0, -1]] - _MJD_ZERO
            raise UnusableInput(
                f"{self.path} has positions from MJD {first:.5f} to {last:.5f} (TDB), and none for "
                f"{time[outside][0] - _MJD_ZERO:.5f}; what lies beyond a table is not guessed: ask for a longer one"
            )
        return time


@attrs.frozen(eq=False)
class _Track:
    """The directions of a target at times in order."""

    time: Floats  # (n,) TDB, Julian date
    directions: Floats  # (n, 3)

    def at(self, time: Floats) -> Floats:
        """Return interpolated directions (m, 3), not of unit length."""
        return _spline(self.time, self.directions, time)

    def left_out(self, i: int) -> float:
        """Return how far an entry is from the spline through its neighbours, arcsec; of the ends, their neighbours'."""
        i = int(np.clip(i, 1, len(self.time) - 2))
        near: Ints = np.arange(max(0, i - _SIDE), min(len(self.time), i + _SIDE + 1))
        near = near[near != i]
        found = _spline(self.time[near], self.directions[near], self.time[i : i + 1])[0]
        apart = np.linalg.norm(found / np.linalg.norm(found) - self.directions[i])
        return float(2 * np.arcsin(apart / 2) / ARCSEC)


@functools.lru_cache(maxsize=8)
def _read(path: Path, columns: tuple[tuple[str, str], ...], scale: str, stamp: tuple[int, int]) -> _Track:
    """Read a table once for each state of the file: each frame asks for its own places."""
    time, ra, dec = read_ephemeris(path, dict(columns), scale)
    order = np.argsort(time, kind="stable")
    time, directions = time[order], unit_vectors(ra, dec)[order]
    if len(time) < _LEAST:
        raise UnusableInput(f"{path} has {len(time)} positions; {_LEAST} are needed to interpolate between them")
    if not np.all(np.diff(time) > 0):
        twice = time[:-1][np.diff(time) == 0][0] - _MJD_ZERO
        raise UnusableInput(f"{path} has two positions for one time, MJD {twice:.6f} (TDB); keep one")
    steps = np.linalg.norm(np.diff(directions, axis=0), axis=1)
    if steps.max() > 0.5:
        where = time[int(np.argmax(steps))] - _MJD_ZERO
        raise UnusableInput(
            f"{path}: the target moves by {np.degrees(2 * np.arcsin(steps.max() / 2)):.0f} degrees after MJD "
            f"{where:.5f} (TDB), too far to interpolate; ask for shorter steps"
        )
    return _Track(time, directions)


def _spline(time: Floats, directions: Floats, wanted: Floats) -> Floats:
    from scipy.interpolate import CubicSpline

    start = time[0]  # differences of Julian dates are exact, and small
    return np.asarray(CubicSpline(time - start, directions, axis=0)(wanted - start))


@hookimpl
def lcf_ephemerides() -> dict[str, type[Any]]:
    """Offer the ephemeris ``table``."""
    return {"table": Table}
