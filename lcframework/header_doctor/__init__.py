"""Checks of a folder's headers: the values from the installed parsers; missing, doubtful and contradictory ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from lcframework.config.sections import Frames
from lcframework.config.toolbox import GENERIC_PARSER, Tool
from lcframework.frames.fits_names import likely_pattern
from lcframework.header_doctor.airmass import Position, airmass_verdict
from lcframework.header_doctor.gain import gain_verdict, measured_gain
from lcframework.header_doctor.header_wcs import wcs_text
from lcframework.header_doctor.reading import FileReading, read_file
from lcframework.header_doctor.suggestions import lines_to_paste
from lcframework.header_doctor.times import TimeFindings, times_of
from lcframework.header_doctor.values import values_of
from lcframework.plugins import Plugins
from lcframework.sky.ephemerides import Site
from lcframework.trust import check, code_of_parsers
from lcframework.types import Doubt, LcfError, MeasuredGain, Severity

__all__ = ["FileReading", "InstrumentFiles", "SkyOf", "TimeFindings", "default_parsers", "examine"]

#: From an instrument to its telescope's site (None: unknown) and the observed sky positions, (ra, dec) degrees.
SkyOf = Callable[[str], tuple[Site | None, Sequence[Position]]]


@attrs.frozen(eq=False)
class InstrumentFiles:
    """The files of one instrument."""

    instrument: str
    files: tuple[FileReading, ...]
    values: dict[str, dict[str, int]]  # quantity -> value as text -> number of files
    missing: dict[str, str]  # quantity -> consequence, and what to set
    reasons: dict[str, int]  # why files were not understood -> number of files
    doubts: dict[str, int]  # what is doubtful about headers, each cause once -> number of files
    times: TimeFindings
    gain: MeasuredGain | None  # None: not measured
    gain_verdict: str
    airmass_verdict: str  # empty: the headers state no airmass
    wcs: str = ""  # the headers' WCS in words; empty: not looked for
    paste: tuple[str, ...] = ()  # lines for the project file

    @property
    def unknown(self) -> tuple[FileReading, ...]:
        """The files that no parser accepts, but whose header can be read."""
        return tuple(f for f in self.files if f.info is None and f.header is not None)


def default_parsers(plugins: Plugins, folder: Path) -> tuple[Tool, ...]:
    """Return the installed parsers with their default options, in the order of ``[header] plugin = "auto"``.

    A parser that needs a file is included where the file is in `folder` or in its parent.

    Raises
    ------
    NotTrusted
        Where such a file is code that the user did not allow yet.
    """
    tools = []
    for offer in plugins.offers("lcf_header_parsers"):
        try:
            instance = offer.cls()
        except TypeError:  # an option without default: only a project file can give it
            continue
        for option in attrs.fields(type(instance)):
            value = getattr(instance, option.name)
            if isinstance(value, Path) and not value.is_absolute():
                base = folder if (folder / value).exists() else folder.parent
                instance = attrs.evolve(instance, **{option.name: base / value})
        paths = [v for f in attrs.fields(type(instance)) if isinstance(v := getattr(instance, f.name), Path)]
        if all(p.exists() for p in paths):
            tools.append(Tool("header", offer.name, instance, offer.results_version))
    check(code_of_parsers(t.instance for t in tools), folder if (folder / "header_parser").is_dir() else folder.parent)
    return tuple(sorted(tools, key=lambda t: t.name == GENERIC_PARSER))


def examine(
    folder: Path, pattern: str, parsers: tuple[Tool, ...], settings: Frames | None = None, measure: bool = True,
    sky: SkyOf | None = None, plugins: Plugins | None = None,
) -> list[InstrumentFiles]:  # fmt: skip
    """Read the headers of a folder, and return the findings by instrument.

    Parameters
    ----------
    folder : Path
    pattern : str
        The pattern of file names, as ``[frames] pattern``.
    parsers : tuple of Tool
        The parsers, called as at import; see :func:`default_parsers`.
    settings : Frames, optional
        Gives the HDUs of image and headers.
    measure : bool
        Whether to measure the gain from the images.
    sky : function, optional
        Returns for an instrument the site of its telescope (None: unknown) and the observed sky positions (ra, dec),
        degrees; without it, both are taken from headers.
    plugins : Plugins, optional
        Whose solver ``existing`` reads the headers' WCS.

    Raises
    ------
    LcfError
        Where no file matches.
    """
    settings = settings or Frames()
    paths = sorted(p for p in folder.glob(pattern) if p.is_file())
    if not paths:
        endings = Counter(p.suffix for p in folder.iterdir() if p.is_file()) if folder.is_dir() else Counter()
        there = ", ".join(f"{n} *{e}" for e, n in endings.most_common(3)) or "no file"
        other = likely_pattern(folder)
        cure = f'give --pattern "{other}"' if other else "give --pattern"
        raise LcfError(f'no file in {folder} matches "{pattern}" (there: {there}); {cure}')
    readings = [read_file(path, parsers, settings) for path in paths]
    names = list(dict.fromkeys(r.instrument for r in readings))
    groups = [_group(n, [r for r in readings if r.instrument == n], parsers, settings, measure, sky, plugins)
              for n in names]  # fmt: skip
    return sorted(groups, key=lambda g: -len(g.files))


def _group(
    name: str, files: Sequence[FileReading], parsers: tuple[Tool, ...], settings: Frames, measure: bool,
    sky: SkyOf | None, plugins: Plugins | None,
) -> InstrumentFiles:  # fmt: skip
    known = [f for f in files if f.info is not None]
    gain = measured_gain(files, settings) if measure and any(f.header is not None for f in files) else None
    values, missing = values_of(files)
    defects = [(f, reason) for f in files if f.info is None for reason in f.defects or (f.reason,)]
    reasons = Counter(reason.replace(f.path.name, "FILE") for f, reason in defects)
    site, positions = sky(name) if sky else (None, ())
    stated = [(f.path.name, f.header, f.info) for f in known if f.header is not None and f.info is not None]
    gains = [f.info.gain for f in known if f.info and math.isfinite(f.info.gain)]
    return InstrumentFiles(name, tuple(files), values, missing, dict(reasons.most_common()), _doubts(files),
                 times_of(files, parsers), gain,
                 gain_verdict(gain, gains) if gain else "",
                 airmass_verdict(stated, site, positions), wcs_text(files, plugins),
                 lines_to_paste(files, gain))  # fmt: skip


def _doubts(files: Sequence[FileReading]) -> dict[str, int]:
    """Return each doubt about headers once, the worst first, with the number of files that it holds for."""
    found: dict[tuple[str, str], list[Doubt]] = {}
    for f in files:
        for d in f.doubts:
            found.setdefault((d.kind, d.subject), []).append(d)
    ranked = sorted(found.values(), key=lambda same: min(d.severity.rank for d in same))
    return {("" if same[0].severity is Severity.NOTE else "CHECK: ") + f"{same[0].text}. {same[0].remedy}": len(same)
            for same in ranked}  # fmt: skip
