"""Times that are missing, repeated, overlapping or contradictory."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import attrs

from lcframework.config.toolbox import Tool
from lcframework.frames.header_cards import clock_cards, stated_moment, time_cards
from lcframework.header_doctor.reading import FileReading
from lcframework.protocols import HasTimeReference
from lcframework.provenance import file_digest

#: Times that differ by less than this, in s, count as equal.
SAME_TIME = 0.01
#: Beyond an exposure, clocks of one header may differ by this, s.
READ_APART = 5.0
#: Times at the sun or at the barycentre differ by minutes.
_ELSEWHERE = re.compile(r"HEL|HJD|BJD|BARY")


@attrs.frozen(eq=False)
class TimeFindings:
    """The findings on the times of an instrument's files."""

    without: tuple[str, ...]  # files in which no time was found
    duplicates: tuple[tuple[str, ...], ...]  # sets of files with equal times
    identical: int  # the number of these sets with identical files
    overlaps: tuple[tuple[str, str], ...]  # exposures that begin before the previous one has ended
    others: dict[str, tuple[float, float]]  # differences of other times in the headers, s: lowest and highest
    astray: tuple[str, ...]  # of these, those that differ from the time in use by more than an exposure
    moments: tuple[str, ...]  # the moment of the exposure that the times are assumed to give, and why


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
    others = _other_times(known)
    longest = max((f.info.exptime for f in known if f.info), default=0.0)
    # Clocks of one header are read one after the other.
    far = [k for k, span in others.items() if max(map(abs, span)) > longest + READ_APART]
    astray = tuple(k for k in far if not _ELSEWHERE.search(k))
    return TimeFindings(without, names, identical, tuple(overlaps), others, astray, _moments(known, parsers))


def _other_times(files: Sequence[FileReading]) -> dict[str, tuple[float, float]]:
    """Return how far the other clocks of headers are from the time used, s; times of day from the nearest such."""
    offsets: dict[str, list[float]] = {}
    for f in files:
        if f.info is None or f.header is None:
            continue
        used = f.info.mjd
        found = {key: mjd - used for key, mjd in time_cards(f.header).items()}
        for key, day in clock_cards(f.header).items():
            found[key] = (day - used + 0.5) % 1.0 - 0.5
        for key, days in found.items():
            if key != f.info.time_source:
                offsets.setdefault(key, []).append(days * 86400.0)
    return {key: (min(found), max(found)) for key, found in offsets.items()}


def _moments(files: Sequence[FileReading], parsers: tuple[Tool, ...]) -> tuple[str, ...]:
    """Return in words which moment of the exposure the times of each keyword are assumed to give, and why."""
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
        moment, where = stated_moment(f.header, i.time_source)
        taken = f"{source} is taken as the {i.time_reference.value} of the exposure"
        change = f"; set time_reference in [header.{f.parser}] if it is another"
        if not isinstance(by_name[f.parser].instance, HasTimeReference):
            change = f"; the parser {f.parser} decides that"
        if moment == i.time_reference.value:
            out[key] = f"{taken}, as {where} states"
        elif moment:
            out[key] = f"CHECK: {taken}, but {where} states {moment}{change}"
        else:
            out[key] = (
                f"CHECK: {taken}, but the header does not state it. Is it start, mid or end? Half an exposure is "
                f"{i.exptime / 2:g} s{change}"
            )
    return tuple(out.values())
