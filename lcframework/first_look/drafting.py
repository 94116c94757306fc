"""Puts together what a folder of frames says into a project file, and lists what has to be asked."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from lcframework.config.sections import Frames
from lcframework.config.survey_bands import USUAL, survey_band
from lcframework.first_look import targets
from lcframework.first_look.plate_scale import ASTROMETRY_NET, Coverage, coverage
from lcframework.first_look.raw_files import (
    MOST,
    RawFiles,
    calibration_folders,
    find_frames,
    image_hdu,
    is_calibration,
)
from lcframework.first_look.star_tables import Stars, quoted, stars_by_what_is_there, user_table
from lcframework.first_look.targets import Target, region_name
from lcframework.frames.samples import at_equal_steps
from lcframework.header_doctor import default_parsers
from lcframework.header_doctor.gain import measured_gain
from lcframework.header_doctor.reading import FileReading, read_file
from lcframework.header_doctor.sites import SiteFound, find_site
from lcframework.header_doctor.suggestions import lines_to_paste
from lcframework.plugins import Plugins
from lcframework.sky.ephemerides import Site
from lcframework.types import LcfError

if TYPE_CHECKING:
    from astropy.table import Table

#: Widest search for Astrometry.net by default, degrees; of ``[plate_solving] search_radius``.
_SEARCH = 1.0


@attrs.frozen
class Request:
    """What the user says; None, or empty, where the frames are to tell.

    Attributes
    ----------
    directory : Path
        The project's folder.
    frames : Path
        The folder of raw frames.
    """

    directory: Path
    frames: Path
    pattern: str | None = None
    target: str | None = None
    ra: float | None = None  # degrees
    dec: float | None = None
    latitude: float | None = None  # degrees
    longitude: float | None = None  # degrees, east positive
    elevation: float | None = None  # m
    pixel_scale: float | None = None  # arcsec/pixel
    stars: Path | None = None
    columns: Mapping[str, str] = attrs.field(factory=dict)
    offline: bool = False


@attrs.frozen(eq=False)
class Draft:
    """A project file that can be written.

    Attributes
    ----------
    lines : tuple of str
    notes : tuple of str
        What was found, a line each.
    tables : mapping
        Tables of stars to be written beside it, by file name.
    """

    lines: tuple[str, ...]
    notes: tuple[str, ...]
    tables: Mapping[str, Table]

    @property
    def settings(self) -> int:
        """How many settings it has."""
        return sum("=" in line and not line.startswith("#") for line in self.lines)


class Unanswered(LcfError):
    """What the frames don't say: a line for each, beginning with the arguments that answer it."""

    def __init__(self, questions: Sequence[str]) -> None:
        self.questions = tuple(questions)
        super().__init__("what the frames don't say has to be told:\n" + "\n".join(f"  {q}" for q in questions))


def draft(request: Request, plugins: Plugins) -> Draft:
    """Look at the frames, and return a project file.

    Raises
    ------
    Unanswered
        Where something has to be told.
    LcfError
        Where there are no frames, or what was told can't be right.
    """
    if (request.ra is None) != (request.dec is None):
        raise LcfError("--ra and --dec belong together: both are needed, in degrees")
    if request.columns and request.stars is None:
        raise LcfError("--columns belongs to --stars TABLE")
    raw = find_frames(request.frames.resolve(), request.pattern)
    settings = image_hdu(raw.paths[len(raw.paths) // 2])
    parsers = default_parsers(plugins, raw.folder)
    files = [read_file(p, parsers, settings) for p in at_equal_steps(raw.paths, MOST)]
    lights = [f for f in files if f.header is not None and not is_calibration(f.path, plugins, settings)]
    if not lights:
        reasons = Counter(f.reason or "a calibration frame" for f in files)
        raise LcfError(f"none of {len(files)} files is a frame of the sky: {reasons.most_common(1)[0][0]}")
    questions: list[str] = []
    notes = [_found(raw, lights)]
    calibration = _calibration(request, raw, plugins, notes)
    header = _header_options(lights, settings, questions)
    sites = _sites(request, lights, questions, notes)
    covered = coverage(lights, plugins, settings, request.pixel_scale)
    notes.append(covered.note)
    if not covered.solver:
        questions.append(f"--pixel-scale ARCSEC: {covered.note}")
    target = _target(request, lights, covered, questions, notes)
    stars = _stars(request, target, covered, questions, plugins, settings)
    if questions or target is None:
        raise Unanswered(questions)
    notes.append(stars.note)
    lines = [
        *("[project]", f'name = "{target.name}"'),
        *_frames(request, raw, settings),
        *header,
        *_telescopes(sites),
        *_region(target),
        *calibration,
        *_solving(covered, target),
        *stars.lines,
        *_magnitudes(stars, lights, notes),
        *(("[run]", "offline = true") if request.offline else ()),
    ]
    tables = {} if stars.table is None else {stars.name: stars.table}
    return Draft(tuple(lines), tuple(n for n in notes if n), tables)


def _found(raw: RawFiles, lights: Sequence[FileReading]) -> str:
    instruments = Counter(f.instrument for f in lights)
    bands = Counter(info.band or "no filter named" for f in lights if (info := f.known))
    cameras = ", ".join(instruments)
    return f"{len(raw.paths)} files {raw.pattern} in {raw.folder}; instrument {cameras}; filter {', '.join(bands)}"


def _shown(path: Path, request: Request) -> str:
    """Return a path for the project file: relative where it lies in the project's folder."""
    path, base = path.resolve(), request.directory.resolve()
    return os.path.relpath(path, base) if path.is_relative_to(base) else path.as_posix()


def _frames(request: Request, raw: RawFiles, settings: Frames) -> list[str]:
    lines = []
    shown = _shown(raw.folder, request)
    if shown != "raw":
        lines.append(f"raw_dirs = [{quoted(shown)}]")
    if raw.pattern != Frames().pattern:
        lines.append(f"pattern = {quoted(raw.pattern)}")
    if settings.hdu_data:
        lines.append(f"hdu_data = {settings.hdu_data}")
    return ["[frames]", *lines] if lines else []


def _calibration(request: Request, raw: RawFiles, plugins: Plugins, notes: list[str]) -> list[str]:
    folders, pattern = calibration_folders(raw, plugins)
    if not folders:
        return []
    shown = [_shown(p, request) for p in folders]
    notes.append(f"calibration frames in {', '.join(shown)}")
    lines = [] if shown == ["calibration"] else [f"dirs = [{', '.join(map(quoted, shown))}]"]
    lines += [] if pattern == "**/*.fits" else [f"pattern = {quoted(pattern)}"]
    return ["[reduction]", *lines] if lines else []


def _header_options(lights: Sequence[FileReading], settings: Frames, questions: list[str]) -> list[str]:
    """Return what the parser has to be told, where headers hold it under names that it does not look at."""
    refused = [f for f in lights if f.info is None]
    if not refused:
        return []
    unread = {name for f in refused for name in f.unread}
    gain = measured_gain(lights, settings) if "gain" in unread else None
    lines = [line for line in lines_to_paste(refused, gain) if line.split("_keyword")[0].split(" =")[0] in unread]
    told = {line.split("_keyword")[0].split(" =")[0] for line in lines}
    if any(f.partial is None for f in refused) or unread - told:
        reason = refused[0].defects[-1] if refused[0].defects else refused[0].reason
        if len(refused) == len(lights):
            questions.append(f"lcf headers {lights[0].path.parent}: no header can be read: {reason}")
    return ["[header.fits]", *lines] if lines else []


def _sites(request: Request, lights: Sequence[FileReading], questions: list[str], notes: list[str]) -> dict[str, Site]:
    """Return the telescopes' places, by instrument; '' for all. What the user says replaces what the headers do."""
    sites: dict[str, Site] = {}
    instruments = list(dict.fromkeys(f.instrument for f in lights))
    for instrument in instruments:
        of_it = [f for f in lights if f.instrument == instrument]
        infos = [(f.header, info.mjd_start if (info := f.known) else None) for f in of_it]
        found = find_site([(h, mjd) for h, mjd in infos if h is not None])
        site = _told(request, found)
        whose = f" of {instrument}" if len(instruments) > 1 else ""
        if site is not None:
            sites[instrument] = site
            notes += [found.note] if found.note and request.longitude is None else []
        elif found.question and request.longitude is None:
            questions.append(found.question)
        elif request.latitude is not None or request.longitude is not None:
            lacking = "latitude" if request.latitude is None else "longitude"
            questions.append(f"--{lacking} DEG: it is not in the headers{whose}")
        else:
            notes.append(
                f"the telescope's place{whose} is not in the headers: without --latitude and --longitude there is no "
                "airmass, and barycentric times are good to 21 ms"
            )
    rounded = {(round(s.latitude, 3), round(s.longitude, 3)) for s in sites.values()}
    if len(rounded) == 1 and len(sites) == len(instruments):
        return {"": next(iter(sites.values()))}
    return sites


def _told(request: Request, found: SiteFound) -> Site | None:
    """Return the place of a telescope by what the user says, and for the rest by the headers."""
    site = found.site
    latitude = request.latitude if request.latitude is not None else (site.latitude if site else found.latitude)
    longitude = request.longitude if request.longitude is not None else (site.longitude if site else None)
    elevation = request.elevation if request.elevation is not None else (site.elevation if site else found.elevation)
    return None if latitude is None or longitude is None else Site(latitude, longitude, elevation)


def _telescopes(sites: Mapping[str, Site]) -> list[str]:
    lines: list[str] = []
    for name, site in sites.items():
        lines.append(f"[instrument.{quoted(name)}.telescope]" if name else "[telescope]")
        lines += [f"latitude = {site.latitude:.6g}", f"longitude = {site.longitude:.7g}"]
        lines += [f"elevation = {site.elevation:.6g}"] if site.elevation else []
    return lines


def _target(
    request: Request, lights: Sequence[FileReading], covered: Coverage, questions: list[str], notes: list[str]
) -> Target | None:
    """Return the target; None, with a question, where nothing says what it is or where it can't be."""
    headers = [f.header for f in lights if f.header is not None]
    named = request.target or targets.header_name(headers)
    found: Target | None = None
    if request.ra is not None and request.dec is not None:
        found = Target(region_name(named), request.ra, request.dec)
    elif named and not request.offline and targets.reachable(targets.SESAME):
        try:
            place = targets.by_name(named)
            found = Target(region_name(named), *place, f"{named} is at {place[0]:.5f} {place[1]:+.5f} by its name")
        except LcfError as error:
            if request.target:
                questions.append(str(error))
                return None
    elif request.target and not _same_name(request.target, targets.header_name(headers)):
        why = "the network is not to be used" if request.offline else "the name service does not answer"
        questions.append(f'--ra DEG --dec DEG: where "{request.target}" is can\'t be asked, {why}')
        return None
    found = found or targets.by_header(headers)
    if found is None and covered.fields:
        middle = covered.fields[len(covered.fields) // 2]
        text = "the target is taken to be in the middle of the frames: give --ra and --dec, or correct [roi]"
        found = Target(region_name(named), *middle.centre, text)
    if found is None:
        questions.append("--ra DEG --dec DEG, or --target NAME: no header says what was observed")
        return None
    if covered.fields and min(covered.distances(found.ra, found.dec)) > covered.radius:
        ra, dec = covered.fields[len(covered.fields) // 2].centre
        questions.append(
            f"--ra DEG --dec DEG: {found.name} at {found.ra:.4f} {found.dec:+.4f} is in no frame; the frames are "
            f"centred on {ra:.4f} {dec:+.4f}, and reach {covered.radius:.2g} degrees from there"
        )
        return None
    notes.append(found.note)
    return found


def _same_name(a: str, b: str) -> bool:
    """Whether two names are one but for case, spaces and hyphens."""
    plain = [re.sub(r"[^a-z0-9+]", "", name.lower()) for name in (a, b)]
    return plain[0] == plain[1]


def _region(target: Target) -> list[str]:
    place = f"{target.ra % 360.0:.6f}", f"{target.dec:.6f}"
    name = target.name
    return [f"[roi.{name}]", f"ra = {place[0]}", f"dec = {place[1]}", f"point_sources.A = [{place[0]}, {place[1]}]"]


def _solving(covered: Coverage, target: Target) -> list[str]:
    if covered.solver != ASTROMETRY_NET:
        return []
    low, high = 0.95 * covered.scale, 1.05 * covered.scale
    off = max(covered.distances(target.ra, target.dec))
    search = [f"search_radius = {2 * off:.2g}"] if 2 * off > _SEARCH else []
    scale = f"pixel_scale = [{low:.4g}, {high:.4g}]"
    return ["[plate_solving]", f'plugin = "{covered.solver}"', scale, *search]


def _stars(
    request: Request, target: Target | None, covered: Coverage, questions: list[str], plugins: Plugins, settings: Frames
) -> Stars:
    if request.stars is not None:
        found = user_table(request.stars, _shown(request.stars, request), request.columns)
    elif target is None or not covered.fields:
        return Stars()
    else:
        off = max(covered.distances(target.ra, target.dec))
        found = stars_by_what_is_there((target.ra, target.dec), off, covered, plugins, settings, request.offline)
    if found.question:
        questions.append(found.question)
    return found


def _magnitudes(stars: Stars, lights: Sequence[FileReading], notes: list[str]) -> list[str]:
    """Return the section of the survey, where there is none to calibrate by; note filters that it has no band for."""
    if stars.lines:
        notes.append("fluxes stay relative: for magnitudes give [calibration] a survey and its band")
        return ["[calibration]", 'plugin = "none"']
    bands = list(dict.fromkeys(info.band for f in lights if (info := f.known)))
    if unknown := [band or "none" for band in bands if not survey_band(band)]:
        notes.append(f"magnitudes of filter {', '.join(unknown)} are calibrated as {USUAL}: see [calibration] bands")
    return []
