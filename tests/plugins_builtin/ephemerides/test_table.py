"""The ephemeris ``table``: places between its entries, its errors, its times, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table as AstropyTable
from astropy.time import Time

from lcframework.sky.geometry import separation
from lcframework.testing import check_ephemeris
from lcframework.types import Moments, NeedMissing, UnusableInput
from plugins_builtin.ephemerides.table import Table

START = 60310.0  # MJD, UTC


def great_circle(days: Any, node: float = 350.0, inclination: float = 75.0) -> tuple[np.ndarray, np.ndarray]:
    """Return places on an inclined great circle, at 20 to 40 arcsec a minute that grow with time."""
    along = np.radians(np.asarray(days) * 8.0 + np.asarray(days) ** 2 * 4.0)
    i, o = np.radians([inclination, node])
    x, y, z = np.cos(along), np.sin(along) * np.cos(i), np.sin(along) * np.sin(i)
    ra = np.arctan2(np.sin(o) * x + np.cos(o) * y, np.cos(o) * x - np.sin(o) * y)
    return np.degrees(ra) % 360.0, np.degrees(np.arcsin(z))


def written(folder: Path, step: float = 1 / 24, name: str = "track.ecsv", time: str = "mjd_utc", **more: Any) -> Path:
    days = np.arange(0.0, 1.0 + step / 2, step)
    ra, dec = great_circle(days, **more)
    path = folder / name
    AstropyTable({time: START + days, "RA": ra, "DEC": dec}).write(path)
    return path


def moments(*mjd: float) -> Moments:
    return Moments(np.array(mjd))


@pytest.mark.parametrize(("node", "inclination"), [(359.0, 75.0), (10.0, 89.99), (200.0, 3.0)])
def test_places_between_entries_are_those_of_the_orbit(tmp_path: Path, node: float, inclination: float) -> None:
    days = np.linspace(0.0, 1.0, 173)
    plugin = Table(written(tmp_path, node=node, inclination=inclination))
    times = Moments(START + days)
    off = separation(*plugin.positions(0.0, 0.0, times), *great_circle(days, node, inclination))
    assert off.max() < 0.01
    errors = plugin.position_errors(times)
    assert (errors >= off - 1e-6).all()
    assert errors.max() < 0.2


def test_the_stated_error_grows_with_the_step_as_that_of_a_cubic_spline(tmp_path: Path) -> None:
    coarse, dense = (
        Table(written(tmp_path, step, f"{i}.ecsv")).position_errors(moments(START + 0.5)).max()
        for i, step in enumerate((1 / 12, 1 / 24))
    )
    assert 8 < coarse / dense < 32


def test_what_lies_outside_is_refused(tmp_path: Path) -> None:
    plugin = Table(written(tmp_path))
    check_ephemeris(plugin, mjd=START + np.array([0.5, 0.1, 0.9]), outside=[START - 1e-4, START + 1.0001])
    with pytest.raises(UnusableInput, match=r"track\.ecsv has positions from MJD 60310\.00080 to .* not guessed"):
        plugin.positions(0.0, 0.0, moments(START + 0.5, START + 2.0))


def test_utc_and_tdb_differ_by_69_seconds(tmp_path: Path) -> None:
    path = written(tmp_path, time="mjd")
    when = moments(START + 0.5)
    utc, tdb = (Table(path, time_scale=scale).positions(0.0, 0.0, when) for scale in ("utc", "tdb"))
    expected = great_circle(0.5), great_circle(0.5 + 69.184 / 86400.0)
    for found, true in zip((utc, tdb), expected, strict=True):
        assert separation(*found, *true)[0] < 0.01
    assert separation(*utc, *tdb)[0] == pytest.approx(69.184 / 60.0 * 30.0, rel=0.01)  # 12 degrees a day


def test_times_whose_scale_nothing_says_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NeedMissing, match=r"whether the times in 'mjd' are UTC or TDB.*time_scale = \"utc\""):
        Table(written(tmp_path, time="mjd")).positions(0.0, 0.0, moments(START))
    with pytest.raises(UnusableInput, match="says that its times are in UTC"):
        Table(written(tmp_path, name="b.ecsv"), time_scale="tdb").positions(0.0, 0.0, moments(START))


def test_a_column_of_times_has_its_scale(tmp_path: Path) -> None:
    days = np.arange(0.0, 1.01, 0.05)
    ra, dec = great_circle(days)
    table = AstropyTable({"time": Time(START + days, format="mjd", scale="tdb"), "ra": ra, "dec": dec})
    table.write(tmp_path / "t.ecsv")
    found = Table(tmp_path / "t.ecsv").positions(0.0, 0.0, moments(START + 0.5))
    assert separation(*found, *great_circle(0.5 + 69.184 / 86400.0))[0] < 0.01


HORIZONS = """\
*******************************************************************************
 Revised: Jan 01, 2024             433 Eros
*******************************************************************************
 Date__(UT)__HR:MN, , , R.A._(ICRF), DEC__(ICRF), APmag,
*******************************************************************************
$$SOE
{rows}
$$EOE
*******************************************************************************
"""


def test_a_text_of_horizons_is_read(tmp_path: Path) -> None:
    rows = [
        f" 2024-Jan-{5 + day:02d} {hour:02d}:00, ,m, 10 00 {28 + (24 * day + hour) / 3:07.4f}, -05 30 00.00, 12.1,"
        for day in range(2)
        for hour in (0, 6, 12, 18)
    ]
    (tmp_path / "eros.txt").write_text(HORIZONS.format(rows="\n".join(rows)))
    ra, dec = Table(tmp_path / "eros.txt").positions(0.0, 0.0, moments(60314.125))
    assert ra[0] == pytest.approx(150.0 + 29.0 / 240.0, abs=1e-7)  # three hours on: one second of time
    assert dec[0] == pytest.approx(-5.5, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[:3], "has 3 positions; 4 are needed"),
        (lambda t: t[[0, 1, 2, 2, 3, 4]], "two positions for one time, MJD 60310.08"),
        (lambda t: t.rename_column("RA", "RA_app"), "no column that is known to hold ra"),
        (lambda t: t["DEC"].__setitem__(1, 95.0), "row 2 has no time, or no position"),
        (lambda t: t["mjd_utc"].__setitem__(slice(None), np.arange(25.0) - 3), "neither Julian dates nor modified"),
        (lambda t: t["RA"].__setitem__(5, 150.0), "too far to interpolate"),
    ],
)
def test_tables_that_cannot_be_right_are_refused(tmp_path: Path, change: Any, said: str) -> None:
    path = written(tmp_path)
    table = AstropyTable.read(path)
    changed = change(table)
    (table if changed is None else changed).write(path, overwrite=True)
    with pytest.raises((UnusableInput, NeedMissing), match=said):
        Table(path).positions(0.0, 0.0, moments(START + 0.04))


def test_apparent_places_are_refused(tmp_path: Path) -> None:
    table = AstropyTable.read(written(tmp_path))
    table.rename_column("RA", "RA_app")
    table.write(tmp_path / "app.ecsv")
    with pytest.raises(UnusableInput, match="RA_app are apparent positions"):
        Table(tmp_path / "app.ecsv", columns={"ra": "RA_app"}).positions(0.0, 0.0, moments(START))
