"""The command ``lcf nights``: one line a night, with its frames, seeing, sky and transparency."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import NeedMissing

if TYPE_CHECKING:
    from astropy.table import Table


def night_of(mjd: np.ndarray, longitude: float | np.ndarray) -> np.ndarray:
    """Return each time's night: the whole days of the MJD at its local noon, which no night crosses.

    Parameters
    ----------
    mjd : array
        UTC, d.
    longitude : float or array
        Degrees, east positive.
    """
    return np.floor(np.asarray(mjd, float) + np.asarray(longitude) / 360.0 - 0.5).astype(int)


def nights(frames: Table, longitudes: Mapping[str, float], band: str = "") -> list[dict[str, Any]]:
    """Return what each night was like, by the frames that are used.

    Parameters
    ----------
    frames : Table
        As ``Project.frames()`` returns it.
    longitudes : mapping
        Of the telescope of each instrument; degrees, east positive.
    band : str
        Of these frames alone; empty: of all.

    Raises
    ------
    NeedMissing
        Where the longitude of an instrument is not known.
    """
    found: list[dict[str, Any]] = []
    if len(frames) == 0:
        return found
    mjd = _floats(frames["mjd"])
    wanted = np.isfinite(mjd) & np.array([not band or str(b) == band for b in frames["band"]])
    left_out = np.array([bool(e) for e in frames["eliminated"]])
    instruments = [str(i) for i in frames["instrument"]]
    if unknown := sorted({i for i, w in zip(instruments, wanted, strict=True) if w and i not in longitudes}):
        sections = " or ".join(f'[instrument."{name}".telescope]' for name in unknown)
        raise NeedMissing(
            "the night of a frame follows from its telescope's longitude, which is not known for "
            f"{', '.join(unknown)}: give it in [telescope], or in {sections}"
        )
    east = np.array([longitudes.get(i, 0.0) for i in instruments])  # 0: of frames that are not wanted
    night = night_of(np.where(np.isfinite(mjd), mjd, 0.0), east)
    for which in np.unique(night[wanted]):
        of_it = wanted & (night == which)
        used = of_it & ~left_out
        found.append(
            {
                "night": int(which),
                "evening": _evening(int(which)),
                "frames": int(used.sum()),
                "left_out": int((of_it & left_out).sum()),
                "hours": round(float(np.ptp(mjd[used])) * 24.0, 2) if used.any() else 0.0,
                "seeing": _median(frames["seeing_arcseconds"], used),
                "sky": _median(frames["sky_level_electron_per_second"], used),
            }
        )
    return found


@click.command("nights")
@click.argument("project", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--band", default="", help="Only frames of this band.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(project: Path, band: str, as_json: bool) -> None:
    """Sum up each night of PROJECT: frames, hours, median seeing and sky."""
    from lcframework import Project

    opened = Project.open(project)
    frames = opened.frames()
    telescopes = {str(i): opened.config.for_instrument(str(i)).telescope for i in frames["instrument"]}
    rows = nights(frames, {name: t.longitude for name, t in telescopes.items() if t is not None}, band)
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo("No frame has been imported yet: lcf run " + str(project))
        return
    click.echo(f"{'evening':<12}{'frames':>7}{'out':>5}{'hours':>7}{'seeing':>8}{'sky':>9}")
    for row in rows:
        click.echo(_line(row))
    click.echo('seeing in arcsec, sky in e-/s a pixel; "out": frames that are left out')


def _line(row: Mapping[str, Any]) -> str:
    seeing, sky = (f"{row[name]:.2f}" if row[name] is not None else "-" for name in ("seeing", "sky"))
    return f"{row['evening']:<12}{row['frames']:>7}{row['left_out']:>5}{row['hours']:>7.1f}{seeing:>8}{sky:>9}"


def _evening(night: int) -> str:
    """Return the date of the evening with which a night begins."""
    from astropy.time import Time

    return str(Time(night, format="mjd").isot[:10])


def _floats(column: Any) -> np.ndarray:
    """Return a column's numbers, nan where the database has none."""
    return np.array([np.nan if value is None or value is np.ma.masked else float(value) for value in column])


def _median(column: Any, which: np.ndarray) -> float | None:
    values = _floats(column)[which]
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else None


@hookimpl
def lcf_commands() -> dict[str, click.Command]:
    """Offer the command. Its entry point is called command.nights, from which `lcf --help` knows it."""
    return {"nights": command}
