"""The plots of a project: the data from which each is made, and the function that draws it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import numpy as np

from lcframework.frames.exclusions import IMPORT
from lcframework.project import Project
from lcframework.provenance import digest
from lcframework.report.comparison import ComparisonStars
from lcframework.report.plots import (
    finding_chart,
    footprints,
    frame_sources,
    light_curve,
    normalization,
    psf,
    roi_model,
    star_photometry,
)
from lcframework.report.plots.rendering import Job
from lcframework.report.plots.style import group_name
from lcframework.report.results import Results
from lcframework.roi.cutout_files import FOLDER, distinct, slug, stem_of
from lcframework.roi.light_curves import table_name
from lcframework.sky.geometry import at_epoch, to_plane
from lcframework.sky.tracks import moving_regions
from lcframework.stages.model_calibrated_cutouts import ModelCalibratedCutouts
from lcframework.stages.plate_solving import PlateSolving
from lcframework.stages.prepare_calibrated_cutouts import PrepareCalibratedCutouts
from lcframework.stages.psf_modeling import PsfModeling
from lcframework.stages.stamp_extraction import StampExtraction
from lcframework.storage.tables import Frame, RoiInFrame
from lcframework.work import FitKey, FrameKey, LightCurveKey, RegionGroupKey

#: Increased when the style of plots changes, so that existing plots are drawn again.
PLOTS_VERSION = 4


def _fingerprint(*parts: Any) -> str:
    return digest([PLOTS_VERSION, *parts])


def source_jobs(project: Project, results: Results) -> Iterator[Job]:
    """Yield one plot for each imported frame."""
    imported = results.ledger.made(IMPORT, FrameKey)
    rois: dict[int, list[tuple[str, float, float]]] = {}
    for row in results.rois:
        if row.roi_in_footprint and row.x is not None and row.y is not None:
            rois.setdefault(row.frame_id, []).append((row.roi, round(row.x, 2), round(row.y, 2)))
    for frame in results.frames.values():
        product = imported.get(FrameKey(frame.id or 0))
        if product is None or frame.eliminated or not frame.image_relpath or not frame.sources_relpath:
            continue
        if not (project.workdir / frame.image_relpath).exists():
            continue  # imported frames are not kept
        here = tuple(sorted(rois.get(frame.id or 0, [])))
        size = project.toolbox.config_for(frame.instrument).stamps.roi_size
        payload = frame_sources.Payload(
            frame_title(frame), frame.image_relpath, frame.sources_relpath,
            frame.background_rms_electron_per_second or 1.0, here, size,
        )  # fmt: skip
        mark = _fingerprint(product.token, payload.title, here, size)
        yield Job("sources", (f"sources/{frame.key}.jpg",), mark, frame_sources.figures, payload)


def frame_title(frame: Frame) -> str:
    """Return a frame's name, seeing and sky."""
    parts = [frame.key]
    if frame.seeing_arcseconds is not None:
        parts.append(f"seeing {frame.seeing_arcseconds:.2f}″")
    elif frame.seeing_pixels is not None:
        parts.append(f"seeing {frame.seeing_pixels:.1f} pixels")
    if frame.sky_level_electron_per_second is not None:
        parts.append(f"sky {frame.sky_level_electron_per_second:.3g} e⁻/s")
    return "   ".join(parts)


def footprint_jobs(project: Project, results: Results) -> Iterator[Job]:
    """Yield two plots for the project: without and with the reference stars."""
    frames = [f for f in results.used() if f.id in results.footprints]
    regions = project.config.roi
    if not frames or not regions:
        return
    places = {name: _places(project, results, name, frames) for name in regions}
    origin = next(iter(places.values()))[0]

    def plane(vertices: Iterable[Any]) -> Any:
        sky = np.array(list(vertices), float).reshape(-1, 2)
        return np.stack(to_plane(sky[:, 0], sky[:, 1], *origin), axis=1) / 60.0

    common = next((f.common for f in results.fields if f.common), [])
    disks = tuple(
        (*plane([(f.ra, f.dec)])[0].tolist(), f.radius * 60.0) for f in results.fields if f.strategy == "roi_disk"
    )
    rois = tuple((n, *plane([at[len(at) // 2]])[0].tolist()) for n, at in places.items())
    tracks = tuple(plane(at) for at in places.values() if len(at) > 1)
    outlines = tuple(plane(results.footprints[f.id or 0].polygon) for f in frames)
    bare = footprints.Payload(outlines, plane(common), rois, disks, tracks)
    polygons = [results.footprints[f.id or 0].polygon for f in frames]
    mark = _fingerprint(polygons, common, disks, rois, *(track.tolist() for track in tracks))
    yield Job("footprints", ("footprints.jpg",), mark, footprints.figures, bare)
    if results.stars:
        measured = {(r.combined_footprint_hash, r.gaia_id) for r in results.fluxes}
        unique = {s.gaia_id: (key, s) for key, s in results.stars.items()}
        rows = sorted(unique.values(), key=lambda pair: (len(pair[1].name), pair[1].name, pair[1].gaia_id))
        stars = footprints.Stars(
            plane([(s.ra, s.dec) for _, s in rows]),
            np.array([s.magnitude for _, s in rows]),
            tuple(s.name for _, s in rows),
            tuple(key in measured for key, _ in rows),
        )
        mark = _fingerprint(mark, [[s.gaia_id, s.name, s.ra, s.dec, key in measured] for key, s in rows])
        path = ("footprints_with_gaia_stars.jpg",)
        yield Job("footprints", path, mark, footprints.figures, attrs.evolve(bare, stars=stars))


def _places(project: Project, results: Results, roi: str, frames: Iterable[Frame]) -> list[tuple[float, float]]:
    """Return where a region is, degrees: one that moves where frames show it, in the order of time."""
    region = project.config.roi[roi]
    times = {f.id: f.mjd or 0.0 for f in frames}
    rows = [r for r in results.rois if r.roi == roi and r.roi_in_footprint and r.frame_id in times]
    rows.sort(key=lambda r: times[r.frame_id])
    places = [(r.ra, r.dec) for r in rows if r.ra is not None and r.dec is not None]
    return places if places and roi in moving_regions(project.toolbox) else [(region.ra, region.dec)]


def chart_jobs(project: Project, results: Results) -> Iterator[Job]:
    """Yield one finding chart for each region that a frame shows whose image and WCS are there."""
    measured = {(r.combined_footprint_hash, r.gaia_id) for r in results.fluxes}
    imported = results.ledger.made(IMPORT, FrameKey)
    solved = results.ledger.made(PlateSolving.name, FrameKey)
    inside: dict[str, dict[int, RoiInFrame]] = {}
    for row in results.rois:
        if row.roi_in_footprint:
            inside.setdefault(row.roi, {})[row.frame_id] = row
    for roi, region in project.config.roi.items():
        frames = [f for f in results.used() if f.id in inside.get(roi, ())]
        frames.sort(key=lambda f: (f.seeing_arcseconds or np.inf, f.id or 0))
        best = next((f for f in frames if _are_there(project, f.image_relpath, f.wcs_relpath)), None)
        if best is None:
            continue
        here = inside[roi][best.id or 0]  # in this frame: the target may move
        place = (region.ra, region.dec) if here.ra is None or here.dec is None else (here.ra, here.dec)
        fields = {f.hash for f in results.fields if roi in f.rois}
        found = sorted(
            (s for (field, star), s in results.stars.items() if field in fields and (field, star) in measured),
            key=lambda s: (len(s.name), s.name),
        )
        stars = []
        for s in found:
            ra, dec = at_epoch(s.ra, s.dec, s.pmra, s.pmdec, s.ref_epoch, best.mjd or 51544.0)
            magnitude = float(np.nan if s.magnitude is None else s.magnitude)
            stars.append(finding_chart.ChartStar(s.gaia_id, s.name, float(ra), float(dec), magnitude))
        payload = finding_chart.Payload(
            roi, *place, tuple(stars), best.image_relpath or "", best.wcs_relpath or "",
            frame_title(best), best.background_rms_electron_per_second or 1.0,
        )  # fmt: skip
        made = [p[FrameKey(best.id or 0)].token for p in (imported, solved) if FrameKey(best.id or 0) in p]
        mark = _fingerprint(str(attrs.astuple(payload)), made)  # as text: JSON knows no nan
        yield Job("charts", (f"finding_charts/{roi}.png",), mark, finding_chart.figures, payload)


def _are_there(project: Project, *paths: str | None) -> bool:
    return all(path and (project.workdir / path).exists() for path in paths)


def psf_jobs(project: Project, results: Results) -> Iterator[Job]:
    """Yield one plot for each PSF."""
    stamped = results.ledger.made(StampExtraction.name, FrameKey)
    modelled = results.ledger.made(PsfModeling.name, FrameKey)
    for row in results.psfs:
        frame = results.frames.get(row.frame_id)
        key = FrameKey(row.frame_id, row.combined_footprint_hash)
        stamps, model = stamped.get(key), modelled.get(key)
        if frame is None or frame.eliminated or stamps is None or model is None:
            continue
        names = {s.gaia_id: s.name for (field, _), s in results.stars.items() if field == row.combined_footprint_hash}
        title = f"PSF of {frame_title(frame)}   χ² {row.chi2:.2f}   {row.status}"
        payload = psf.Payload(title, stamps.path, row.path, names)
        letters = {k: v for k, v in names.items() if v in row.stars.split(",")}
        path = (f"PSFs/{frame.key}_{row.psf_ref}.jpg",)
        yield Job("psf", path, _fingerprint(model.token, title, letters), psf.figures, payload)


def star_jobs(project: Project, results: Results) -> Iterator[Job]:
    """Yield one job for each field, instrument and band, with a plot for each star: each file is read once."""
    stamped = results.ledger.made(StampExtraction.name, FrameKey)
    psfs = {(r.frame_id, r.combined_footprint_hash): r.path for r in results.psfs}
    for curves in results.comparison:
        rows: dict[int, dict[str, star_photometry.Measured]] = {i: {} for i in curves.frame_ids}
        for r in results.fluxes:
            if r.combined_footprint_hash == curves.field and r.frame_id in rows and r.gaia_id in curves.star_ids:
                rows[r.frame_id][r.gaia_id] = star_photometry.Measured(r.flux, r.x, r.y, r.background, r.chi2)
        frames = tuple(
            star_photometry.FrameFluxes(stamped[FrameKey(i, curves.field)].path, psfs[i, curves.field], stars)
            for i, stars in rows.items()
            if stars and (i, curves.field) in psfs and FrameKey(i, curves.field) in stamped
        )
        tool = project.toolbox.tool("psf", curves.instrument)
        if not frames or tool is None:
            continue
        where = group_name(curves.instrument, curves.band)
        order = _by_letter(curves)
        stars = tuple((curves.star_ids[j], f"Star {curves.names[j]}   {where}") for j in order)
        base = group_stem(results, curves)
        paths = tuple(f"star_photometry/{base}_{curves.names[j]}.jpg" for j in order)
        values = [[f.stamps, f.psf, {k: attrs.astuple(v) for k, v in f.stars.items()}] for f in frames]
        payload = star_photometry.Payload(frames, stars, tool.instance)
        yield Job("star_photometry", paths, _fingerprint(values, stars), star_photometry.figures, payload)


def _by_letter(curves: ComparisonStars) -> list[int]:
    return sorted(range(len(curves.names)), key=lambda j: (len(curves.names[j]), curves.names[j]))


def group_stem(results: Results, curves: ComparisonStars) -> str:
    """Return the common part of a group's file names; it includes the field where there are several fields."""
    groups = {(c.instrument, c.band): f"{slug(c.instrument)}_{slug(c.band)}" for c in results.comparison}
    name = distinct(groups)[curves.instrument, curves.band]
    return name if len(results.fields) == 1 else f"{name}_{curves.field[:8]}"


def normalization_jobs(project: Project, results: Results) -> Iterator[Job]:
    """Yield one plot for each field, instrument and band."""
    for curves in results.comparison:
        order = _by_letter(curves)
        if not order:
            continue
        payload = normalization.Payload(
            f"Normalization   {group_name(curves.instrument, curves.band)}", curves.coefficient,
            curves.coefficient_error, tuple(curves.names[j] for j in order), curves.normalised[:, order],
            curves.error[:, order], curves.selected[:, order],
        )  # fmt: skip
        values = (payload.coefficient, payload.flux, payload.error, payload.selected)
        arrays = [np.round(np.asarray(a, float), 7).tolist() for a in values]
        mark = _fingerprint(payload.title, payload.names, arrays)
        path = (f"normalization/{group_stem(results, curves)}.jpg",)
        yield Job("normalization", path, mark, normalization.figures, payload)


def fits(project: Project, results: Results) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield each region's fits: roi, instrument, band, the cutouts' and the fit's path, and the fit's token."""
    prepared = results.ledger.made(PrepareCalibratedCutouts.name, RegionGroupKey)
    modelled = results.ledger.made(ModelCalibratedCutouts.name, FitKey)
    for key, product in sorted(modelled.items(), key=lambda item: str(item[0])):
        cutouts = prepared.get(RegionGroupKey(key.roi, key.instrument, key.band))
        if key.roi in project.config.roi and cutouts is not None:
            yield key.roi, key.instrument, key.band, cutouts.path, product.path, product.token


def roi_jobs(project: Project, results: Results) -> Iterator[Job]:
    """Yield one plot for each region, instrument and band."""
    for roi, instrument, band, cutouts, fit, token in fits(project, results):
        title = f"{roi}   {group_name(instrument, band)}"
        payload = roi_model.Payload(title, cutouts, fit)
        yield Job("roi", (f"ROI/{stem_of(cutouts)}.jpg",), _fingerprint(token), roi_model.figures, payload)


def light_curve_jobs(project: Project, results: Results) -> Iterator[Job]:
    """Yield one plot for each region."""
    for roi in project.config.roi:
        product = results.ledger.product(ModelCalibratedCutouts.name, LightCurveKey(roi))
        if product is not None and product.made:
            payload = light_curve.Payload(roi, f"{FOLDER}/{table_name(roi, 'ecsv')}")
            path = (f"light_curves/{roi}.png",)
            yield Job("light_curves", path, _fingerprint(product.token), light_curve.figures, payload)


def print_jobs(project: Project, results: Results) -> Iterator[Job]:
    """Yield light curves, comparison stars and finding charts once more, as PDFs beside the pictures."""
    for make in (light_curve_jobs, normalization_jobs, chart_jobs):
        for job in make(project, results):
            paths = tuple(f"{path.rpartition('.')[0]}.pdf" for path in job.paths)
            yield attrs.evolve(job, kind="print", paths=paths, fingerprint=_fingerprint("print", job.fingerprint))


_JOBS = {
    "sources": source_jobs,
    "footprints": footprint_jobs,
    "charts": chart_jobs,
    "psf": psf_jobs,
    "star_photometry": star_jobs,
    "normalization": normalization_jobs,
    "roi": roi_jobs,
    "light_curves": light_curve_jobs,
    "print": print_jobs,
}
#: Kinds of plots, in the order of the stages that they show.
KINDS: tuple[str, ...] = tuple(_JOBS)


def jobs(project: Project, results: Results, kinds: Iterable[str]) -> list[Job]:
    """Return the jobs of some kinds."""
    return [job for kind in KINDS if kind in set(kinds) for job in _JOBS[kind](project, results)]
