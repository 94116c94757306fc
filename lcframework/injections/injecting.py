"""Draws sources in a project's own frames, has them measured, and says what came of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcframework.frames.samples import at_equal_steps
from lcframework.injections.asking import Asked, ask
from lcframework.injections.drawing import Drawing, truth_path
from lcframework.injections.drawing_error import drawing_error
from lcframework.injections.held_out import held_out_in_frames
from lcframework.injections.light import Injection, injections, regions_for, steps
from lcframework.injections.places import Surroundings, find_places
from lcframework.injections.scratch import Copy, decide_as_for_one_source, make_scratch
from lcframework.injections.star_light import lights_of
from lcframework.project import Project
from lcframework.roi.injected import TWIN, Summary, results_path, summarise, write_summary
from lcframework.running.injection_doubts import present_light_curve
from lcframework.running.run_report import RunReport
from lcframework.running.runner import Listener
from lcframework.stages.calculate_normalization_coefficient import CalculateNormalizationCoefficient as Normalization
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts
from lcframework.storage.files import atomic
from lcframework.storage.frame_files import read_frame, read_table, read_wcs
from lcframework.storage.unreferenced import KEPT, SCRATCH
from lcframework.types import Floats, LcfError
from lcframework.types.arrays import plain_floats

if TYPE_CHECKING:
    from astropy.table import Table

#: Places are chosen by the sources of so many frames, evenly in time; edges count in all.
_LOOKED_AT = 12
#: Two places are this many sizes of a region's stamp apart.
_APART = 1.1


@attrs.frozen
class Wanted:
    """What is asked for.

    Attributes
    ----------
    roi : str
        The target; empty: the first region.
    number : int
        Of sources.
    seed : int
        Of the places and the noise.
    magnitudes : tuple of float
        Instead of steps from the target's down to below the limit.
    frames : int
        No more of each instrument and band, evenly in time; 0: all.
    keep : bool
        Keep the scratch folder.
    """

    roi: str = ""
    number: int = 100
    seed: int = 1
    magnitudes: tuple[float, ...] = ()
    frames: int = 40
    keep: bool = False


@attrs.frozen(eq=False)
class Injected:
    """What came of it.

    Attributes
    ----------
    table : Table
        A row for each source and epoch.
    summary : Summary
        What these say.
    asked, placed, frames : int
        How many sources were asked for, how many there was room for, and in how many frames they are.
    not_drawn : tuple of str
        Frames in which nothing could be drawn, with the reason.
    path : Path
        The table's file.
    scratch : Path, optional
        The scratch folder, where it is kept.
    seconds : float
        Of the stages that were run again.
    """

    table: Table
    summary: Summary
    asked: int
    placed: int
    frames: int
    not_drawn: tuple[str, ...]
    path: Path
    scratch: Path | None
    seconds: float


def inject(project: Project, wanted: Wanted, listeners: Iterable[Listener] = ()) -> Injected:
    """Draw sources of known light curves in a project's raw frames, have all stages measure them, and compare.

    Parameters
    ----------
    project : Project
        It has run to its end; nothing of it is changed.
    wanted : Wanted
        What is asked for.
    listeners : iterable of callables
        Called with every event of the scratch project's runs.

    Raises
    ------
    LcfError
        Where the target has no light curve yet, raw files are away, stars are too few or there is no room; where the
        measuring stops. The message says what to do.
    """
    project.check_plugins()
    roi = wanted.roi or next(iter(project.config.roi))
    folder = project.workdir / SCRATCH
    with project.hold():
        rng = np.random.default_rng([wanted.seed, 14])
        asked = ask(project, roi, wanted.frames or None, rng)
        drawn = _drawn(project, asked, wanted, rng)
        drawings = _drawings(project, asked, drawn, wanted.seed)
        copy = Copy(folder, roi, asked.field, asked.held_out, tuple(drawings))
        scratch = make_scratch(project, copy, drawn, drawings)
        try:
            seconds = _measured(scratch, asked, drawn, list(listeners))
            table = _collected(scratch, asked, drawn)
            not_drawn = _not_drawn(scratch, asked)
        finally:
            if wanted.keep:
                (folder / KEPT).touch()
            else:
                shutil.rmtree(folder, ignore_errors=True)
        with project.session() as session:
            present = present_light_curve(session, roi)
        placed = sum(len(injection.sources) for injection in drawn)
        table.meta |= {"roi": roi, "seed": wanted.seed, "asked": wanted.number, "placed": placed,
                       "held_out": list(asked.held_out), "light_curve": present}  # fmt: skip
        path = results_path(project.workdir, roi)
        with atomic(path, durable=False) as temporary:
            table.write(temporary, format="ascii.ecsv", overwrite=True)
        summary = summarise(table)
        write_summary(project.workdir, roi, summary, present)
    kept = folder if wanted.keep else None
    return Injected(
        table, summary, wanted.number, placed, len(drawings), not_drawn, path, kept, seconds
    )  # fmt: skip


def _drawn(project: Project, asked: Asked, wanted: Wanted, rng: np.random.Generator) -> list[Injection]:
    """Return what is drawn, and where."""
    target, config = asked.target, project.toolbox.config
    settings = [project.toolbox.config_for(f.instrument) for f in asked.frames]
    size = max(s.stamps.roi_size for s in settings)
    scale = max(f.pixel_scale or 1.0 for f in asked.frames)
    regions = np.array([(r.ra, r.dec) for r in config.roi.values()])
    places = find_places(
        _surroundings(project, asked), (target.ra, target.dec), asked.radius, sum(regions_for(target, wanted.number)),
        _APART * size * scale, size / 2 + 2, regions, rng,
    )  # fmt: skip
    if len(places) == 0:
        raise LcfError(
            f"there is no place within {asked.radius:.0f} arcsec of {target.roi} that all {len(asked.frames)} frames "
            "show and where nothing is: no source can be drawn. Fewer frames (--frames) may leave one"
        )
    if wanted.magnitudes:
        fluxes = {g: _fluxes(wanted.magnitudes, asked.zeropoints.get(g, np.nan)) for g in asked.limits}
    else:
        fluxes = steps(target, asked.limits)
    return injections(target, places, wanted.number, fluxes, list(config.roi))


def _fluxes(magnitudes: Sequence[float], zeropoint: float) -> Floats:
    zero = zeropoint if np.isfinite(zeropoint) else 0.0
    return np.asarray(10 ** (0.4 * (zero - np.array(magnitudes, float))))


def _surroundings(project: Project, asked: Asked) -> list[Surroundings]:
    """Return what frames have around a place: all have edges, and some, evenly in time, their sources."""
    looked = set(at_equal_steps(range(len(asked.frames)), _LOOKED_AT))
    out = []
    for i, f in enumerate(asked.frames):
        wcs, shape = read_wcs(project.workdir / f.wcs_relpath), (f.height, f.width)
        lights: tuple[Floats, Floats, Floats] = (np.zeros(0), np.zeros(0), np.zeros(0))
        flags = None
        if i in looked:
            lights = lights_of(read_table(project.workdir / f.sources_relpath))
            image = project.workdir / f.image_relpath
            flags = read_frame(image)[1] if image.exists() else None
        rms, fwhm = f.background_rms_electron_per_second or 1.0, f.seeing_pixels or 3.0
        out.append(Surroundings(wcs, shape, *lights, rms, fwhm, flags))
    return out


def _drawings(project: Project, asked: Asked, drawn: Sequence[Injection], seed: int) -> dict[int, Drawing]:
    """Return what is drawn in each frame."""
    with project.session() as session:
        stars = held_out_in_frames(session, asked)
    lights = [light for injection in drawn for light in injection.sources]
    ra, dec = np.array([s.ra for s in lights]), np.array([s.dec for s in lights])
    out = {}
    for f in asked.frames:
        flux = np.array([s.flux[f.instrument, f.band] for s in lights])
        image = project.workdir / f.image_relpath
        out[f.id] = Drawing(
            seed, str(image) if image.exists() else "", str(project.workdir / f.sources_relpath),
            str(project.workdir / f.wcs_relpath), f.background_rms_electron_per_second or 1.0, f.exptime or 1.0,
            f.seeing_pixels or 3.0, np.inf if f.saturation is None else f.saturation, stars[f.id], ra, dec, flux,
        )  # fmt: skip
    return out


def _measured(scratch: Project, asked: Asked, drawn: Sequence[Injection], listeners: list[Listener]) -> float:
    """Run the stages, and return how long they took.

    Where the target is a blend, single sources are modelled by what the rules decide for one such.
    """
    twins = [i.region for i in drawn if i.level == TWIN]
    singles = [i.region for i in drawn if i.level != TWIN]
    seconds = _run(scratch, None, Normalization.name, [], listeners)
    if len(asked.target.point_sources) > 1 and singles:
        if twins:
            seconds += _run(scratch, PrepareCalibratedCutouts.name, None, twins, listeners)
        decide_as_for_one_source(scratch, singles[0])
        return seconds + _run(scratch, PrepareCalibratedCutouts.name, None, singles, listeners)
    return seconds + _run(scratch, PrepareCalibratedCutouts.name, None, [*twins, *singles], listeners)


def _run(
    scratch: Project, start: str | None, stop: str | None, rois: Sequence[str], listeners: list[Listener]
) -> float:
    report = scratch.run(start, stop, listeners=listeners, rois=rois)
    if why := _stopped(report):
        raise LcfError(f"the measuring of the drawn sources stopped: {why}")
    return sum(s.seconds for s in report.stages)


def _stopped(report: RunReport) -> str:
    if report.interrupted:
        return "interrupted"
    if report.bugs:
        return f"{report.bugs[0].stage}: {report.bugs[0].reason.splitlines()[0]}"
    return report.message


def _not_drawn(scratch: Project, asked: Asked) -> tuple[str, ...]:
    """Return the frames in which nothing was drawn, with the reason."""
    frames = scratch.frames()
    ids = {f.id for f in asked.frames}
    return tuple(
        f"{row['key']}: {row['comment']}" for row in frames if int(row["id"]) in ids and bool(row["eliminated"])
    )


def _collected(scratch: Project, asked: Asked, drawn: Sequence[Injection]) -> Table:
    """Return a row for each drawn source and epoch: what went in, and what was measured."""
    from astropy.table import Table

    numbers: dict[tuple[str, str], int] = {}
    for injection in drawn:
        for light in injection.sources:
            numbers[injection.region, light.name] = len(numbers)
    truths = {f.id: _truth(scratch.workdir, f.key) for f in asked.frames}
    drawing: dict[tuple[str, str], float] = {}
    for group in {(f.instrument, f.band) for f in asked.frames}:
        own = [truths[f.id] for f in asked.frames if (f.instrument, f.band) == group]
        drawing[group] = drawing_error([truth["ratios"] for truth in own if truth is not None])
    rows = []
    for injection in drawn:
        measured = _fluxes_of(scratch, injection)
        for f in asked.frames:
            truth = truths[f.id]
            if truth is None:
                continue
            for light in injection.sources:
                found, number = measured.get((f.id, light.name), {}), numbers[injection.region, light.name]
                rows.append({
                    "region": injection.region, "level": injection.level, "source": light.name,
                    "ra": light.ra, "dec": light.dec, "instrument": f.instrument, "band": f.band, "frame_id": f.id,
                    "mjd": f.mjd, "seeing": _number(f.seeing_arcseconds),
                    "truth": light.flux[f.instrument, f.band], "truth_error": _number(truth["error"][number]),
                    "drawing_error": drawing[f.instrument, f.band],
                    "saturated": int(truth["saturated"][number]),
                    **{name: found.get(name, np.nan) for name in _MEASURED},
                })  # fmt: skip
    if not rows:
        raise LcfError("nothing could be drawn in any frame: " + "; ".join(_not_drawn(scratch, asked)[:3]))
    table = Table(rows=rows)
    for name, unit in _UNITS.items():
        table[name].unit = unit
    table.meta["zeropoints"] = {f"{i} {b}": z for (i, b), z in asked.zeropoints.items()}
    return table


_OF_SOURCE = ("flux", "d_flux", "d_flux_fit", "d_flux_common")
_OF_EPOCH = ("reduced_chi2", "flags")
_MEASURED = (*_OF_SOURCE, *_OF_EPOCH)
_UNITS = {
    "ra": "deg", "dec": "deg", "mjd": "d", "seeing": "arcsec",
    **dict.fromkeys(("truth", *_OF_SOURCE), "electron / s"),
}  # fmt: skip


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _truth(workdir: Path, key: str) -> dict[str, Any] | None:
    path = workdir / truth_path(key)
    return json.loads(path.read_text()) if path.exists() else None


def _fluxes_of(scratch: Project, injection: Injection) -> Mapping[tuple[int, str], dict[str, float]]:
    """Return what was measured of a region's sources, by frame and source; nothing where it has no light curve."""
    try:
        curve = scratch.light_curve_table(injection.region)
    except LcfError:
        return {}
    ids = plain_floats(curve["frame_id"]).astype(int).tolist()
    out = {}
    for light in injection.sources:
        columns = {n: f"{light.name}_{n}" for n in _OF_SOURCE} | {n: n for n in _OF_EPOCH}
        values = {n: plain_floats(curve[column]).tolist() for n, column in columns.items()}
        for i, frame_id in enumerate(ids):
            out[frame_id, light.name] = {n: values[n][i] for n in _MEASURED}
    return out
