"""Times that are missing, repeated, overlapping or contradictory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import attrs

from lcframework.config.toolbox import Tool
from lcframework.frames.header_cards import stated_moment, time_cards
from lcframework.header_doctor.reading import FileReading
from lcframework.protocols import HasTimeReference
from lcframework.provenance import file_digest

#: Times that differ by less than this, in s, count as equal.
SAME_TIME = 0.01


@attrs.frozen(eq=False)
class TimeFindings:
    """The findings on the times of an instrument's files."""

    without: tuple[str, ...]  # files in which no time was found
    duplicates: tuple[tuple[str, ...], ...]  # sets of files with equal times
    identical: int  # the number of these sets with identical files
    overlaps: tuple[tuple[str, str], ...]  # exposures that begin before the previous one has ended
    others: dict[str, tuple[float, float]]  # differences of other times in the headers, s: lowest and highest
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
