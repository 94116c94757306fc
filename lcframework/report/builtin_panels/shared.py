"""Parts of several panels: names and colours of groups, hover texts, light curves, the state of files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs
from astropy.time import Time
from markupsafe import Markup

from lcframework.project import Project
from lcframework.report.html import number
from lcframework.report.plots.jobs import fits
from lcframework.report.plots.rendering import FOLDER as PLOTS
from lcframework.report.plots.style import group_name
from lcframework.report.results import Results
from lcframework.roi.cutout_files import FitFile, PreparedEpochs, read_cutouts, read_fit
from lcframework.running.frame_status import FrameState, frame_status, left_out_of_fields
from lcframework.storage.tables import Frame
from lcframework.types import EpochFlag, FrameFlag

__all__ = ["group_name", "number"]


def series_of(results: Results) -> dict[tuple[str, str], int]:
    """Return the colour of each instrument and band, the same in all charts."""
    found = sorted({(f.instrument, f.band) for f in results.frames.values() if f.mjd is not None})
    return {group: i for i, group in enumerate(found)}


def describe(frame: Frame, *more: str) -> str:
    """Return a frame's hover text: its name, group, time and seeing, and further lines."""
    lines = [f"<b>{frame.key}</b>", group_name(frame.instrument, frame.band)]
    if frame.mjd is not None:
        lines.append(f"{Time(frame.mjd, format='mjd').iso[:16]}   MJD {frame.mjd:.5f}")
    if frame.seeing_arcseconds is not None:
        lines.append(f"seeing {frame.seeing_arcseconds:.2f}″")
    return "<br>".join([*lines, *(m for m in more if m)])


def epoch_flags(bits: int) -> str:
    """Return an epoch's flags in words."""
    return ", ".join(f.name.lower().replace("_", " ") for f in EpochFlag if bits & f.value and f.name)


def frame_flags(bits: int) -> str:
    """Return a frame's flags in words."""
    return ", ".join(f.name.lower().replace("_", " ") for f in FrameFlag if bits & f.value and f.name)


def read_fits(project: Project, results: Results) -> Iterable[tuple[str, PreparedEpochs, FitFile]]:
    """Yield region, cutouts and fit of each region, instrument and band."""
    for roi, _, _, cutouts, fit, _ in fits(project, results):
        yield roi, read_cutouts(project.workdir / cutouts), read_fit(project.workdir / fit)


def for_print(project: Project, *paths: str) -> Markup:
    """Return links to those of the plots (paths below ``plots/``) that are drawn; empty where none is."""
    drawn = [p for p in paths if (project.workdir / PLOTS / p).exists()]
    links = Markup(", ").join(Markup('<a href="../{}/{}">{}</a>').format(PLOTS, p, Path(p).name) for p in drawn)
    return Markup(" For print: {}.").format(links) if drawn else Markup("")


@attrs.frozen
class Fate:
    """The state of a file, and the reason."""

    frame: Frame
    state: str
    why: str


def fates(project: Project, results: Results) -> list[Fate]:
    """Return the state of every file that was found, in the order of time; files without a time come last."""
    in_curve = {int(i) for curve in results.light_curves.values() for i in curve["frame_id"]}
    reasons = left_out_of_fields(
        results.frames.values(), results.coefficients, results.psfs, in_curve, project.toolbox.config_for,
        {f.hash: f.rois for f in results.fields},
    )  # fmt: skip
    out = []
    for frame in results.frames.values():
        status = frame_status(frame, results.ledger)
        if frame.id in in_curve and status.state in (FrameState.USED, FrameState.LEFT_OUT):
            out.append(Fate(frame, "measured", status.comment))
        elif status.state is FrameState.USED:
            out.append(Fate(frame, "not in the light curve", reasons.get(frame.id or 0, "")))
        else:
            out.append(Fate(frame, status.state, status.comment))
    return sorted(out, key=lambda f: (f.frame.mjd is None, f.frame.mjd or 0.0, f.frame.id or 0))
