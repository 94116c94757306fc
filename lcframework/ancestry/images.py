"""The imported frame: its sky, its noise, its seeing; and its WCS, with who solved it."""

from __future__ import annotations

from typing import Any

from lcframework.ancestry.facts import Line, Section, counted, decimals, figures, known, some
from lcframework.ancestry.makers import by_line, makers
from lcframework.ancestry.records import Records, Row
from lcframework.frames.exclusions import IMPORT, PLATE_SOLVING
from lcframework.types import FrameFlag
from lcframework.work import FrameKey


def sky(records: Records, frame: Row) -> Section:
    """Return what the import measured in a frame."""
    product = records.product(IMPORT, FrameKey(frame.id))
    background = makers(records, product, "background", frame.instrument)
    sources = makers(records, product, "sources", frame.instrument)
    data: dict[str, Any] = {
        "image": frame.image_relpath, "level_e_per_s": frame.sky_level_electron_per_second,
        "rms_e_per_s": frame.background_rms_electron_per_second, "seeing_arcsec": frame.seeing_arcseconds,
        "seeing_pixels": frame.seeing_pixels, "ellipticity": frame.ellipticity,
        "sun_altitude_degrees": frame.sun_altitude, "moon_phase": frame.moon_phase,
        "plugin": [m.as_json() for m in (*background, *sources)],
    }  # fmt: skip
    if frame.image_relpath is None:
        return Section("sky", "Sky", None)
    wide = f" = {decimals(frame.seeing_arcseconds, 2)} arcsec" if known(frame.seeing_arcseconds) else ""
    lines = [
        by_line(background),
        Line("background", f"{figures(frame.sky_level_electron_per_second)} e-/s a pixel, "
             f"rms {figures(frame.background_rms_electron_per_second)}"),
        Line("seeing", f"{decimals(frame.seeing_pixels, 2)} pixels{wide}, "
             f"ellipticity {decimals(frame.ellipticity, 3)}"),
    ]  # fmt: skip
    sun = f"sun at {frame.sun_altitude:.1f}°" if known(frame.sun_altitude) else ""
    moon = f"moon {100 * frame.moon_phase:.0f} % lit" if known(frame.moon_phase) else ""
    more = [Line("sources by", "; ".join(m.text for m in sources)), Line("file", frame.image_relpath),
            Line("sun, moon", ", ".join(t for t in (sun, moon) if t))]  # fmt: skip
    return Section("sky", "Sky", data, some(lines), some(more))


def wcs(records: Records, frame: Row) -> Section:
    """Return who solved a frame, and how well."""
    product = records.product(PLATE_SOLVING, FrameKey(frame.id))
    solvers = makers(records, product, "plate_solving", frame.instrument)
    by = [m for m in solvers if m.plugin == frame.solver] or solvers
    data: dict[str, Any] = {
        "solved": bool(frame.plate_solved), "solver": frame.solver, "matched_stars": frame.wcs_matched,
        "rms_pixels": frame.wcs_rms_pixels, "pixel_scale_arcsec": frame.pixel_scale,
        "angle_to_north_degrees": frame.angle_to_north, "file": frame.wcs_relpath,
        "refined": bool(frame.flags & FrameFlag.WCS_REFINED), "plugin": [m.as_json() for m in by],
        "tried": [m.plugin for m in solvers],
    }  # fmt: skip
    if not frame.plate_solved:
        return Section("wcs", "WCS", data if frame.attempted_plate_solve else None)
    rms = frame.wcs_rms_pixels
    arcsec = f" = {rms * frame.pixel_scale:.3f} arcsec" if known(rms) and known(frame.pixel_scale) else ""
    matched = f"{counted(frame.wcs_matched, 'star')}, rms {figures(rms, 3)} pixels{arcsec}" if known(rms) else ""
    refined = ", fitted again to the catalogue" if data["refined"] else ""
    lines = [
        by_line(by),
        Line("match", (matched or "the solver gives none, and no catalogue was compared with it") + refined),
        Line("scale", f"{decimals(frame.pixel_scale, 4)} arcsec/pixel, north {decimals(frame.angle_to_north, 2)}° "
             "from +y towards -x"),
    ]  # fmt: skip
    return Section("wcs", "WCS", data, some(lines), some([Line("file", frame.wcs_relpath or "")]))
