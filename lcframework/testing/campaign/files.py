"""A simulated campaign on disk: raw frames, catalogue, project file and truth; and the truth read back."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io import fits
from astropy.table import Table, vstack
from astropy.time import Time

from lcframework.testing.campaign.observing import Conditions, observe
from lcframework.testing.campaign.optics import need_galsim
from lcframework.testing.campaign.project_file import project_toml
from lcframework.testing.campaign.render import RawFrame, flux_bounds, render
from lcframework.testing.campaign.settings import CampaignSettings
from lcframework.testing.campaign.sky import TrueSky, make_catalog, make_sky
from lcframework.types import LcfError

MMAG = 2500.0 / np.log(10.0)  # mmag of a small relative change


@attrs.frozen(eq=False)
class CampaignTruth:
    """The truth of a simulated campaign.

    Attributes
    ----------
    directory : pathlib.Path
        The campaign's folder, with ``raw/``, ``stars.ecsv``, ``project.toml`` and ``truth/``.
    settings : CampaignSettings
        The settings from which it was made.
    fluxes : astropy.table.Table
        One row for each frame and source (the target's images and the reference stars): ``frame, mjd`` (mid-exposure,
        UTC), ``name, kind, flux`` (e-/s at transparency 1), ``mag`` (AB), ``flux_bound`` (e-/s) and ``mag_bound``
        (mmag), the Cramer-Rao bound of a measurement that knows all but the fluxes, ``x, y`` (0-based pixels),
        ``transparency, seeing, fwhm`` (arcsec).
    frames : astropy.table.Table
        One row for each frame, with its conditions.
    objects : astropy.table.Table
        One row for each object of the true sky.
    """

    directory: Path
    settings: CampaignSettings
    fluxes: Table
    frames: Table
    objects: Table

    @property
    def project(self) -> Path:
        """The project file."""
        return self.directory / "project.toml"

    @property
    def targets(self) -> list[str]:
        """Names of the region's point sources."""
        return [str(n) for n in self.objects["name"][self.objects["kind"] == "target"]]


def simulate_campaign(
    directory: Path | str,
    *,
    seed: int = 1,
    frames: int = 12,
    first: int = 0,
    size: int = 1200,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> CampaignTruth:
    """Write a simulated campaign of a lensed quasar, or add frames to an existing one.

    Parameters
    ----------
    directory : path
        The folder, created where it is missing. An existing project file is not changed.
    seed, size
        See :class:`CampaignSettings`.
    frames : int
        The number of frames to make, from number `first` on. Frame `i` does not depend on it.
    workers : int
        The number of processes; 0 for one per core. They are spawned, so a script that asks for several needs the
        ``if __name__ == "__main__"`` guard.
    progress : callable, optional
        Called after each frame with the numbers of finished and of requested frames.
    **options
        The other attributes of :class:`CampaignSettings`.

    Returns
    -------
    CampaignTruth
        The truth of all frames in the folder.

    Raises
    ------
    NeedMissing
        Where galsim is not installed.
    LcfError
        Where the folder contains a campaign with other settings.
    """
    settings = CampaignSettings(seed=seed, size=size, **options)
    if frames < 1 or first < 0:
        raise ValueError(f"frames must be at least 1 and first at least 0, got {frames} and {first}")
    need_galsim()
    directory = Path(directory)
    sky = _prepare(directory, settings)
    rows, conditions = [], []
    for done, (flux_rows, frame_row) in enumerate(_frames(directory, settings, first, frames, workers), start=1):
        rows += flux_rows
        conditions.append(frame_row)
        if progress is not None:
            progress(done, frames)
    _write_truth(directory, sky, _flux_table(rows), Table(rows=conditions))
    return read_truth(directory)


def _prepare(directory: Path, settings: CampaignSettings) -> TrueSky:
    """Write what all frames share: folders, the catalogue, and the project file where it is missing."""
    _refuse_other_settings(directory, settings)
    (directory / "raw").mkdir(parents=True, exist_ok=True)
    (directory / "truth").mkdir(exist_ok=True)
    sky = make_sky(settings)
    make_catalog(sky).write(directory / "stars.ecsv", overwrite=True)
    if not (directory / "project.toml").exists():
        (directory / "project.toml").write_text(project_toml(sky))
    return sky


def extend_campaign(directory: Path | str, frames: int = 1, *, workers: int = 1) -> CampaignTruth:
    """Add the next frames to a simulated campaign, as if the observations continued."""
    truth = read_truth(directory)
    options = attrs.asdict(truth.settings)
    first = int(max(truth.frames["index"])) + 1
    return simulate_campaign(truth.directory, first=first, frames=frames, workers=workers, **options)


def read_truth(directory: Path | str) -> CampaignTruth:
    """Return the truth of a simulated campaign.

    Raises
    ------
    LcfError
        Where the folder contains no campaign.
    """
    directory = Path(directory)
    truth = directory / "truth"
    if not (truth / "summary.json").is_file():
        raise LcfError(f"{directory} holds no simulated campaign: {truth / 'summary.json'} is missing")
    settings = CampaignSettings(**json.loads((truth / "summary.json").read_text())["settings"])
    tables = [Table.read(truth / f"{name}.ecsv") for name in ("truth", "frames", "objects")]
    return CampaignTruth(directory, settings, *tables)


def _refuse_other_settings(directory: Path, settings: CampaignSettings) -> None:
    if not (directory / "truth" / "summary.json").exists():
        return
    existing = read_truth(directory).settings
    differ = [f.name for f in attrs.fields(CampaignSettings) if getattr(existing, f.name) != getattr(settings, f.name)]
    if differ:
        raise LcfError(
            f"{directory} holds a simulated campaign with other settings ({', '.join(differ)}): "
            "choose another folder, or remove that one"
        )


def _frames(directory: Path, settings: CampaignSettings, first: int, frames: int, workers: int) -> Iterator[Any]:
    make = partial(_make_frame, directory, settings)
    wanted = range(first, first + frames)
    workers = min(workers or os.cpu_count() or 1, frames)
    if workers == 1:
        yield from map(make, wanted)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(make, wanted)


def _make_frame(directory: Path, settings: CampaignSettings, index: int) -> tuple[list[Any], Any]:
    """Write one raw frame; return its rows of the truth."""
    sky = make_sky(settings)
    conditions = observe(settings, index)
    frame = render(sky, conditions)
    path = directory / "raw" / conditions.name
    part = path.with_name(path.name + ".part")
    fits.PrimaryHDU(frame.counts, raw_header(conditions)).writeto(part, overwrite=True)
    part.replace(path)
    return _flux_rows(sky, conditions, frame), _frame_row(conditions, frame)


def raw_header(conditions: Conditions) -> fits.Header:
    """Return the header of a raw frame, as a telescope writes it, with a slightly wrong WCS."""
    settings = conditions.settings
    header = conditions.header_wcs().to_header()
    cards = [
        ("OBJECT", settings.name, "region of interest"),
        ("TELESCOP", settings.telescope, ""),
        ("INSTRUME", settings.instrument, ""),
        ("FILTER", settings.band, ""),
        ("DATE-OBS", Time(conditions.mjd_start, format="mjd", scale="utc").isot, "start of the exposure"),
        ("MJD-OBS", conditions.mjd_start, "[d] start of the exposure"),
        ("TIMESYS", "UTC", ""),
        ("EXPTIME", settings.exptime, "[s]"),
        ("GAIN", settings.gain, "[electron/adu]"),
        ("RDNOISE", settings.read_noise, "[electron]"),
        ("SATURATE", settings.saturation, "[adu]"),
        ("BUNIT", "adu", ""),
        ("SIMULATE", True, "simulated; the truth is beside it"),
    ]
    for key in ("DATE-OBS", "MJDREF"):
        header.remove(key, ignore_missing=True)
    for key, value, comment in cards:
        header[key] = (value, comment)
    return header


def _flux_rows(sky: TrueSky, conditions: Conditions, frame: RawFrame) -> list[Any]:
    magnitudes = sky.magnitudes(conditions.mjd)
    bounds = flux_bounds(frame, conditions)
    rows = []
    for row, drawn in frame.drawn.items():
        flux = 10 ** (0.4 * (sky.settings.zeropoint - magnitudes[row]))
        rows.append(
            dict(
                frame=conditions.name,
                mjd=conditions.mjd,
                name=str(sky.objects["name"][row]),
                kind=str(sky.objects["kind"][row]),
                flux=float(flux),
                mag=float(magnitudes[row]),
                flux_bound=bounds[row],
                mag_bound=float(MMAG * bounds[row] / flux),
                x=drawn.x,
                y=drawn.y,
                transparency=conditions.transparency,
                seeing=conditions.seeing,
                fwhm=frame.fwhm,
            )
        )
    return rows


def _frame_row(conditions: Conditions, frame: RawFrame) -> Any:
    return dict(
        frame=conditions.name,
        index=conditions.index,
        mjd_start=conditions.mjd_start,
        mjd=conditions.mjd,
        exptime=conditions.settings.exptime,
        airmass=conditions.airmass,
        parallactic=conditions.parallactic,
        seeing=conditions.seeing,
        fwhm=frame.fwhm,
        transparency=conditions.transparency,
        sky=conditions.sky,
        rotation=conditions.rotation,
        offset_east=conditions.offset[0],
        offset_north=conditions.offset[1],
        wcs_dx=conditions.wcs_shift[0],
        wcs_dy=conditions.wcs_shift[1],
        cosmic_rays=frame.cosmic_rays,
    )


def _flux_table(rows: list[Any]) -> Table:
    table = Table(rows=rows)
    units = dict(mjd="d", flux="electron/s", flux_bound="electron/s", mag="mag", mag_bound="mmag", x="pix", y="pix")
    for name, unit in units.items():
        table[name].unit = unit
    return table


def _write_truth(directory: Path, sky: TrueSky, fluxes: Table, frames: Table) -> None:
    """Write the truth; rows of existing frames that were not made again are kept."""
    truth = directory / "truth"
    if (truth / "summary.json").exists():
        old = read_truth(directory)
        fluxes = _merged(old.fluxes, fluxes)
        frames = _merged(old.frames, frames)
    fluxes.sort(["mjd", "name"])
    frames.sort("index")
    for name, table in dict(truth=fluxes, frames=frames, objects=sky.objects).items():
        part = truth / f"{name}.ecsv.part"
        table.write(part, format="ascii.ecsv", overwrite=True)
        part.replace(truth / f"{name}.ecsv")
    summary = dict(
        settings=attrs.asdict(sky.settings),
        frames=len(frames),
        seeing_arcsec=[float(min(frames["fwhm"])), float(max(frames["fwhm"]))],
        transparency=[float(min(frames["transparency"])), float(max(frames["transparency"]))],
        sky_electron_per_second=[float(min(frames["sky"])), float(max(frames["sky"]))],
        airmass=[float(min(frames["airmass"])), float(max(frames["airmass"]))],
        cramer_rao_mmag={name: bound_of(fluxes, name) for name in sky.targets},
    )
    (truth / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


def _merged(old: Table, new: Table) -> Table:
    kept = old[~np.isin(old["frame"], np.asarray(new["frame"]))]
    return vstack([kept, new], metadata_conflicts="silent")


def bound_of(fluxes: Table, name: str) -> float:
    """Return the rms over the epochs of a source's Cramer-Rao bound, in mmag."""
    bounds = np.asarray(fluxes["mag_bound"][fluxes["name"] == name], float)
    return float(np.sqrt(np.nanmean(bounds**2)))
