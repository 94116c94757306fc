"""What the installed header parsers make of a folder's files, and what is missing, doubtful or contradictory."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io import fits

from lcframework.ephemerides import Site
from lcframework.header_cards import as_number, looks_like, moment_said, text_of, time_cards
from lcframework.header_parsing import read_header
from lcframework.header_sky import Place, airmass_verdict
from lcframework.photon_transfer import MeasuredGain, halves, measure_gain
from lcframework.plugins import Plugins
from lcframework.provenance import file_digest
from lcframework.raw_frames import read_raw, read_raw_header
from lcframework.sections import Frames
from lcframework.tools import GENERIC_PARSER, Tool
from lcframework.types import DataUnit, HeaderInfo, LcfError, NeedMissing, UnusableInput

#: Times closer than this are one time, s.
SAME_TIME = 0.01
#: So many pairs of frames are measured for the gain of an instrument.
PAIRS = 8
#: The gain is measured on a central piece of at most so many pixels a side.
LARGEST = 2048
#: The header's gain is doubted where it differs from the noise's by this fraction, and by 3 sigma.
GAIN_TOLERANCE = 0.25
_UNKNOWN = "unknown"
SkyOf = Callable[[str], tuple[Site | None, Sequence[Place]]]


@attrs.frozen(eq=False)
class FileReading:
    """One file: what a parser said of it, or why none did."""

    path: Path
    instrument: str
    header: fits.Header | None = None
    shape: tuple[int, int] = (0, 0)
    parser: str = ""
    info: HeaderInfo | None = None
    reason: str = ""


@attrs.frozen(eq=False)
class TimeFindings:
    """How the times of an instrument's files stand."""

    without: tuple[str, ...]  # files in which no time was found
    duplicates: tuple[tuple[str, ...], ...]  # files of one time
    identical: int  # of these sets, so many hold the same bytes
    overlaps: tuple[tuple[str, str], ...]  # exposures that begin before the one before ended
    others: dict[str, tuple[float, float]]  # other times in the headers: from the time taken, s, lowest and highest
    moments: tuple[str, ...]  # what the times are taken as, and on whose word


@attrs.frozen(eq=False)
class Group:
    """The files of one instrument."""

    instrument: str
    files: tuple[FileReading, ...]
    values: dict[str, dict[str, int]]  # quantity -> value as text -> number of files
    missing: dict[str, str]  # quantity -> what follows from that, and what gives it
    reasons: dict[str, int]  # why files were not understood -> number of files
    times: TimeFindings
    gain: MeasuredGain | None  # None: not measured
    gain_verdict: str
    airmass_verdict: str  # empty: the headers state none

    @property
    def unknown(self) -> tuple[FileReading, ...]:
        """The files that no parser could read, but whose header is there."""
        return tuple(f for f in self.files if f.info is None and f.header is not None)


def default_parsers(plugins: Plugins, folder: Path) -> tuple[Tool, ...]:
    """Return the installed parsers with their default options, as ``[header] plugin = "auto"`` asks them.

    Those made of files take part where the file lies in or beside `folder`.
    """
    tools = []
    for offer in plugins.offers("lcf_header_parsers"):
        try:
            instance = offer.cls()
        except TypeError:  # an option without default: only a project file can give it
            continue
        for field in attrs.fields(type(instance)):
            value = getattr(instance, field.name)
            if isinstance(value, Path) and not value.is_absolute():
                base = folder if (folder / value).exists() else folder.parent
                instance = attrs.evolve(instance, **{field.name: base / value})
        paths = [v for f in attrs.fields(type(instance)) if isinstance(v := getattr(instance, f.name), Path)]
        if all(p.exists() for p in paths):
            tools.append(Tool("header", offer.name, instance, offer.results_version))
    return tuple(sorted(tools, key=lambda t: t.name == GENERIC_PARSER))


def examine(
    folder: Path, pattern: str, parsers: tuple[Tool, ...], settings: Frames | None = None, measure: bool = True,
    sky: SkyOf | None = None,
) -> list[Group]:  # fmt: skip
    """Read a folder's headers and say how they stand, by instrument.

    Parameters
    ----------
    folder : Path
    pattern : str
        Which files, as ``[frames] pattern``.
    parsers : tuple of Tool
        Asked as an import asks them; see :func:`default_parsers`.
    settings : Frames, optional
        Which HDUs hold image and headers.
    measure : bool
        Whether to measure the gain from the images.
    sky : function, optional
        From an instrument to its telescope's site (None: unknown) and the places (ra, dec) in the sky that are
        observed, degrees; else both are what headers say.

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
        raise LcfError(f'no file in {folder} matches "{pattern}" (there: {there}); give --pattern')
    readings = [read_file(path, parsers, settings) for path in paths]
    names = list(dict.fromkeys(r.instrument for r in readings))
    groups = [_group(n, [r for r in readings if r.instrument == n], parsers, settings, measure, sky) for n in names]
    return sorted(groups, key=lambda g: -len(g.files))


def read_file(path: Path, parsers: tuple[Tool, ...], settings: Frames) -> FileReading:
    """Return what a parser makes of a file; nothing is raised for a file that is not understood."""
    try:
        header, shape = read_raw_header(path, settings)
    except UnusableInput as error:
        return FileReading(path, _UNKNOWN, reason=str(error))
    guess = "-".join(dict.fromkeys(t for k in ("TELESCOP", "INSTRUME") if (t := text_of(header, k)))) or _UNKNOWN
    try:
        parser, info = read_header(parsers, header, path)
    except (UnusableInput, NeedMissing) as error:
        return FileReading(path, guess, header, shape, reason=str(error))
    except Exception as error:  # a parser's bug concerns its author; the other files are looked at all the same
        return FileReading(path, guess, header, shape, reason=f"a parser failed: {type(error).__name__}: {error}")
    return FileReading(path, info.instrument or guess, header, shape, parser, info)


def _group(
    name: str, files: Sequence[FileReading], parsers: tuple[Tool, ...], settings: Frames, measure: bool,
    sky: SkyOf | None,
) -> Group:  # fmt: skip
    known = [f for f in files if f.info is not None]
    gain = _measure(files, settings) if measure and any(f.header is not None for f in files) else None
    values, missing = values_of(known)
    reasons = Counter(f.reason.replace(f.path.name, "FILE") for f in files if f.info is None)
    site, places = sky(name) if sky else (None, ())
    stated = [(f.path.name, f.header, f.info) for f in known if f.header is not None and f.info is not None]
    return Group(name, tuple(files), values, missing, dict(reasons.most_common()), times_of(files, parsers), gain,
                 gain_verdict(gain, [f.info.gain for f in known if f.info]) if gain else "",
                 airmass_verdict(stated, site, places))  # fmt: skip


# ---------------------------------------------------------------- values

_MISSING = {
    "saturation": "saturated stars can't be told by their level: set [stamps] saturation",
    "read_noise": "the noise rests on the measured sky alone: set read_noise in [header.{parser}], if it has one",
    "band": "[calibration] bands can't tell filters apart; where frames have several, all are taken as one",
    "instrument": "frames of different cameras would be taken as one: set instrument in [header.{parser}]",
}


def values_of(files: Sequence[FileReading]) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Return the values of each quantity with how many files have them, and what is missing with its consequence."""
    values: dict[str, Counter[str]] = {}
    missing: dict[str, str] = {}
    for f in files:
        if f.info is None:
            continue
        i = f.info
        said = {"parser": f.parser, "shape": f"{f.shape[1]} x {f.shape[0]}", "band": i.band,
                "exptime": f"{i.exptime:.6g} s", "gain": f"{i.gain:.6g} e-/{_unit(i)}", "unit": i.data_unit.value,
                "read_noise": f"{i.read_noise:.4g} e-" if np.isfinite(i.read_noise) else "",
                "saturation": f"{i.saturation:.6g}" if np.isfinite(i.saturation) else "",
                "time_source": i.time_source, "time_reference": i.time_reference.value, "site": i.site,
                "instrument": i.instrument}  # fmt: skip
        for quantity, value in said.items():
            values.setdefault(quantity, Counter())[value or "?"] += 1
            if not value and quantity in _MISSING:
                missing[quantity] = _MISSING[quantity].format(parser=f.parser)
    values.pop("instrument", None)
    return {q: dict(c.most_common()) for q, c in values.items()}, missing


def _unit(info: HeaderInfo) -> str:
    return "ADU" if info.data_unit in (DataUnit.ADU, DataUnit.ADU_PER_SECOND) else "e-"


# ---------------------------------------------------------------- times


def times_of(files: Sequence[FileReading], parsers: tuple[Tool, ...]) -> TimeFindings:
    """Look for missing, repeated, overlapping and contradictory times."""
    known = sorted((f for f in files if f.info is not None), key=lambda f: f.info.mjd_start if f.info else 0.0)
    without = tuple(f.path.name for f in files if f.info is None and not (f.header and time_cards(f.header)))
    duplicates: list[list[FileReading]] = []
    overlaps = []
    for before, after in itertools.pairwise(known):
        assert before.info is not None
        assert after.info is not None
        gap = (after.info.mjd_start - before.info.mjd_start) * 86400.0
        if gap < SAME_TIME:
            if duplicates and duplicates[-1][-1] is before:
                duplicates[-1].append(after)
            else:
                duplicates.append([before, after])
        elif gap < before.info.exptime - max(0.5, 0.01 * before.info.exptime):
            overlaps.append((before.path.name, after.path.name))
    identical = sum(len({file_digest(f.path) for f in same}) < len(same) for same in duplicates)
    names = tuple(tuple(f.path.name for f in same) for same in duplicates)
    return TimeFindings(without, names, identical, tuple(overlaps), _other_times(known), _moments(known, parsers))


def _other_times(files: Sequence[FileReading]) -> dict[str, tuple[float, float]]:
    offsets: dict[str, list[float]] = {}
    for f in files:
        if f.info is None or f.header is None:
            continue
        for key, mjd in time_cards(f.header).items():
            if key != f.info.time_source:
                offsets.setdefault(key, []).append((mjd - f.info.mjd) * 86400.0)
    return {key: (min(found), max(found)) for key, found in offsets.items()}


def _moments(files: Sequence[FileReading], parsers: tuple[Tool, ...]) -> tuple[str, ...]:
    """Say which moment of the exposure each keyword's times are taken as, and on whose word."""
    out: dict[tuple[str, str, str], str] = {}
    by_name = {p.name: p for p in parsers}
    for f in files:
        if f.info is None or f.header is None:
            continue
        i = f.info
        key = (i.time_source, i.time_reference.value, f.parser)
        if key in out:
            continue
        source = i.time_source or "a time whose keyword the parser does not name"
        said, where = moment_said(f.header, i.time_source)
        taken = f"{source} is taken as the {i.time_reference.value} of the exposure"
        change = f"; set time_reference in [header.{f.parser}] if it is another"
        if not hasattr(by_name[f.parser].instance, "time_reference"):
            change = f"; the parser {f.parser} decides that"
        if said == i.time_reference.value:
            out[key] = f"{taken}, as {where} says"
        elif said:
            out[key] = f"CHECK: {taken}, but {where} says {said}{change}"
        else:
            out[key] = (
                f"CHECK: {taken}, but nothing in the header says so. Is it start, mid or end? Half an exposure is "
                f"{i.exptime / 2:g} s{change}"
            )
    return tuple(out.values())


# ---------------------------------------------------------------- gain


def _measure(files: Sequence[FileReading], settings: Frames) -> MeasuredGain:
    """Measure the gain on pairs of successive frames of equal exposure, or on single frames."""
    usable = [f for f in files if f.header is not None and min(f.shape) > 0]
    usable.sort(key=lambda f: (f.info.mjd_start if f.info else 0.0, f.path.name))
    sets: dict[tuple[Any, ...], list[FileReading]] = {}
    for f in usable:
        sets.setdefault((f.shape, _exposure(f), f.info.band if f.info else ""), []).append(f)
    pairs = [(a, b) for same in sets.values() for a, b in itertools.pairwise(same)]
    whole = all(f.header.get("BITPIX", -32) > 0 for f in usable if f.header is not None)
    try:
        if pairs:
            chosen = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, PAIRS).astype(int))]
            return measure_gain(((_counts(a, settings), _counts(b, settings)) for a, b in chosen), whole)
        singles = [usable[i] for i in np.unique(np.linspace(0, len(usable) - 1, PAIRS).astype(int))]
        return measure_gain((halves(_counts(f, settings)) for f in singles), whole)
    except UnusableInput as error:
        return MeasuredGain(np.nan, np.nan, (np.nan, np.nan), np.nan, 0, 0, str(error))


def _exposure(f: FileReading) -> float:
    if f.info is not None:
        return f.info.exptime
    assert f.header is not None
    keys = looks_like([f.header], "exptime")
    return (as_number(f.header[keys[0]]) or 0.0) if keys else 0.0


def _counts(f: FileReading, settings: Frames) -> Any:
    image = read_raw(f.path, settings).image
    y, x = (max(0, (n - LARGEST) // 2) for n in image.shape)
    image = image[y : y + LARGEST, x : x + LARGEST]
    per_second = f.info is not None and f.info.data_unit in (DataUnit.ADU_PER_SECOND, DataUnit.ELECTRON_PER_SECOND)
    return image * np.float32(f.info.exptime) if per_second and f.info else image


def gain_verdict(measured: MeasuredGain, gains: Sequence[float]) -> str:
    """Say how the headers' gain compares with the measured noise."""
    if not np.isfinite(measured.gain):
        return f"can't be measured from the noise: {measured.reason}"
    said = f"{measured.gain:.3g} +- {max(measured.error, 0.05 * measured.gain):.2g} e-/unit from the noise"
    said += f" ({measured.blocks} blocks of {measured.pairs} pairs, levels {measured.levels[0]:.0f} to "
    said += f"{measured.levels[1]:.0f})"
    wrong = [
        g for g in sorted(set(gains))
        if abs(g - measured.gain) > max(GAIN_TOLERANCE * measured.gain, 3.0 * measured.error)
    ]  # fmt: skip
    if wrong:
        listed = ", ".join(f"{g:g}" for g in wrong)
        return (
            f"CHECK: {said}, but the header says {listed}: flux errors would be wrong by {_factor(wrong[0], measured)}"
        )
    return f"{said}: agrees" if gains else said


def _factor(gain: float, measured: MeasuredGain) -> str:
    ratio = np.sqrt(measured.gain / gain)
    return f"a factor {max(ratio, 1 / ratio):.2f} where photon noise rules"
