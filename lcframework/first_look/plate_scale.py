"""Whether frames come with a WCS, or can be solved, and what they cover."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcframework.config.sections import Frames
from lcframework.frames.exposed_region import unexposed
from lcframework.frames.header_cards import as_number, text_of
from lcframework.frames.raw_frames import read_raw
from lcframework.header_doctor.header_wcs import EXISTING, HeaderWcs, placed, read_wcs
from lcframework.header_doctor.pointing import pointing
from lcframework.header_doctor.reading import FileReading
from lcframework.plugins import Plugins
from lcframework.sky.geometry import separation
from lcframework.types import LcfError, NotSolved, SolveHint, UnusableInput
from lcframework.types.robust import robust_scatter

if TYPE_CHECKING:
    from astropy.io import fits

ASTROMETRY_NET = "astrometry-net"
#: The share of frames with a WCS from which on it is believed; the default of ``min_success_fraction``.
_MOST_FRAMES = 0.85
#: Frames that are tried, and the sources from which on a try is worth it.
_TRIES, _FEWEST = 3, 12
_SCALE = re.compile(r"PI?XSCA|SCALE|SECPIX|PLTSCL|PLATESC|IMSC|CDELTM")
#: Degrees around the place that a header gives.
_AROUND = 3.0


@attrs.frozen(eq=False)
class Coverage:
    """How frames get a WCS.

    Attributes
    ----------
    solver : str
        The solver to select; empty where none works.
    fields : tuple of HeaderWcs
        Centre and scale of the frames that have been read.
    radius : float
        From a frame's centre to its corner, degrees.
    example : tuple of (FileReading, HeaderWcs), optional
        A frame in the middle, and its WCS.
    note : str
        What was found; the reason where no solver works.
    """

    solver: str
    fields: tuple[HeaderWcs, ...] = ()
    radius: float = 0.0
    example: tuple[FileReading, HeaderWcs] | None = None
    note: str = ""

    @property
    def scale(self) -> float:
        """The median scale, arcsec/pixel."""
        return float(np.median([f.scale for f in self.fields]))

    def distances(self, ra: float, dec: float) -> list[float]:
        """Return how far the frames' centres are from a position (degrees), degrees."""
        return [float(separation(ra, dec, *f.centre)) / 3600.0 for f in self.fields]


def coverage(files: Sequence[FileReading], plugins: Plugins, settings: Frames, scale: float | None) -> Coverage:
    """Return how frames get a WCS: by their headers, else by Astrometry.net, which is tried on some of them.

    Parameters
    ----------
    files : sequence of FileReading
        Frames of the sky whose header could be read.
    plugins : Plugins
        Whose solvers, sky models and source extractors are asked.
    settings : Frames
        How the files are read.
    scale : float, optional
        arcsec/pixel, where the user knows it.
    """
    read = [(f, read_wcs(f.header, f.shape, plugins)) for f in files if f.header is not None]
    good = [(f, w) for f, w in read if isinstance(w, HeaderWcs)]
    if read and len(good) >= _MOST_FRAMES * len(read):
        found = Coverage(EXISTING, tuple(w for _, w in good), max(_reach(f, w) for f, w in good), good[len(good) // 2])
        return attrs.evolve(found, note=f"the headers' WCS: {found.scale:.4g} arcsec/pixel")
    return _solved(files, plugins, settings, scale)


def _reach(f: FileReading, wcs: HeaderWcs) -> float:
    return float(np.hypot(*f.shape)) / 2 * wcs.scale / 3600.0


def _solved(files: Sequence[FileReading], plugins: Plugins, settings: Frames, scale: float | None) -> Coverage:
    solver: Any = next((o.cls for o in plugins.offers("lcf_plate_solvers") if o.name == ASTROMETRY_NET), None)
    if solver is None or shutil.which("solve-field") is None:
        return Coverage("", note="the headers have no WCS, and Astrometry.net's solve-field is not installed")
    reasons = []
    tried = [files[i] for i in dict.fromkeys(int(x) for x in np.linspace(0, len(files) - 1, 2 * _TRIES + 1)[1::2])]
    for f in tried:
        assert f.header is not None
        try:
            sources = sources_of(f, plugins, settings)
            if len(sources) < _FEWEST:
                reasons.append(f"{f.path.name} shows {len(sources)} sources")
                continue
            for hint in _hints(f.header, scale):
                found = solver().solve(sources, f.shape, hint)
                if not isinstance(found, NotSolved):
                    wcs = placed(found, f.shape)
                    note = f"the headers have no WCS; {f.path.name} was solved: {wcs.scale:.4g} arcsec/pixel"
                    return Coverage(ASTROMETRY_NET, (wcs,), _reach(f, wcs), (f, wcs), note)
                reasons.append(found.reason)
        except LcfError as error:
            reasons.append(str(error))
    return Coverage("", note=f"the headers have no WCS, and no frame could be solved: {reasons[-1] if reasons else ''}")


def _hints(header: fits.Header, scale: float | None) -> list[SolveHint]:
    """Return what is known of a frame's place and scale, and then less of it, in case that is wrong."""
    place = pointing(header)
    stated = [n for k in header if _SCALE.search(k) and (n := as_number(text_of(header, k))) and 0.01 < n < 300.0]
    scales = [(scale * 0.9, scale * 1.1)] if scale else [(stated[0] * 0.7, stated[0] * 1.4)] if stated else []
    hints = [SolveHint(*place, _AROUND, s) for s in [*scales, None][:1] if place]
    hints += [SolveHint(scale=s) for s in scales]
    return [*hints, SolveHint()] if not scale else [*hints]


def sources_of(f: FileReading, plugins: Plugins, settings: Frames) -> Any:
    """Return the sources of a raw frame, in counts."""
    raw = read_raw(f.path, settings)
    image = raw.image
    full = image.shape[0] + 2 * settings.trim_vertical, image.shape[1] + 2 * settings.trim_horizontal
    dark, _ = unexposed(image, raw.header, full, settings.trim_section)
    bad = ~np.isfinite(image) | (dark if dark is not None else False)
    if bad.all():
        raise UnusableInput(f"{f.path.name} has no pixel with light on it")
    filled = np.where(bad, np.float32(np.median(image[~bad])), image).astype(np.float32)
    sky, rms = _tool(plugins, "lcf_background_estimators").estimate(filled, bad)
    rms = rms if rms > 0 else robust_scatter(filled[~bad])
    extractor = _tool(plugins, "lcf_source_extractors")
    variance = np.full(image.shape, np.float32(rms**2))
    found = extractor.extract(filled - sky, variance, bad)
    known = attrs.fields_dict(type(extractor))
    if {"threshold", "min_area"} <= set(known) and len(found) < 5 * _FEWEST:
        # Stars of a pixel or two have fewer pixels above the threshold than the default asks for.
        found = attrs.evolve(extractor, threshold=4.0, min_area=4).extract(filled - sky, variance, bad)
    return found


def _tool(plugins: Plugins, hook: str, name: str = "sep") -> Any:
    return plugins.get(hook, name, "lcf init").cls()
