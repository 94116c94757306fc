"""Summaries of reference stars over all frames: in how many frames each is usable, and why not in the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING

import attrs
import numpy as np
from sqlmodel import Session, select

from lcframework.stars.quality import KINDS, kind_of
from lcframework.storage.queries import active_stars
from lcframework.storage.tables import Star, StarInFrame, StarLevel

if TYPE_CHECKING:
    from astropy.table import Table

#: Kinds of verdict that are properties of the star and not of the frame.
OF_THE_STAR = ("blended", "extended", "elongated")
#: The kind of verdict for stars that the PSF fit rejected.
UNLIKE = "unlike"
#: A star that is no point source in more than this share of the conclusive frames is used in no frame.
MOST = 0.5
FEWEST_FRAMES = 2

StarKey = tuple[str, str]  # field, gaia_id


@attrs.frozen
class StarRecord:
    """One reference star, summarised over all frames with a judged stamp."""

    name: str
    gaia_id: str
    frames: int  # number of frames that contain it
    usable: int  # number of these in which it is usable
    verdicts: Mapping[str, int]  # number of frames by kind of verdict (quality.KINDS and UNLIKE)
    left_out: str = ""  # why the normalization does not use it
    note: str = ""  # what is unusual about it although it is used

    @property
    def trouble(self) -> str:
        """All verdicts and remarks on the star, on one line; empty where there are none."""
        parts = [f"{kind} in {count} of {self.frames} frames" for kind, count in self.verdicts.items()]
        return "; ".join([*parts, *(t for t in (self.left_out, self.note) if t)])


def judged(rows: Iterable[StarInFrame], frames: Set[int] | None = None) -> dict[StarKey, list[StarInFrame]]:
    """Return by star the rows with a judged stamp; only those of `frames`, where given."""
    out: dict[StarKey, list[StarInFrame]] = {}
    for row in rows:
        if row.signal_to_noise is not None and (frames is None or row.frame_id in frames):
            out.setdefault((row.combined_footprint_hash, row.gaia_id), []).append(row)
    return out


def verdicts(rows: Iterable[StarInFrame]) -> dict[str, int]:
    """Return the number of frames with each kind of verdict, the most common kind first."""
    kinds: Counter[str] = Counter()
    for row in rows:
        if row.comment:
            kinds[kind_of(row.comment)] += 1
        elif row.psf_comment:
            kinds[UNLIKE] += 1
    return dict(kinds.most_common())


def no_point_source(rows: Iterable[StarInFrame]) -> str:
    """Return the evidence from all frames that a star is no single star; empty where there is not enough.

    A double star is recognised only in good seeing. In other frames it would be measured, with a flux that depends on
    the seeing. Frames in which it is saturated, masked or at the edge are not conclusive.
    """
    rows = list(rows)
    found = verdicts(rows)
    conclusive = sum(row.usable or kind_of(row.comment) in OF_THE_STAR for row in rows)
    against = {kind: found[kind] for kind in (*OF_THE_STAR, UNLIKE) if kind in found}
    if conclusive < FEWEST_FRAMES or sum(against.values()) <= MOST * conclusive:
        return ""
    return f"no single star in {sum(against.values())} of {conclusive} frames: {', '.join(against)}"


def star_records(session: Session, frames: Set[int] | None = None) -> dict[StarKey, StarRecord]:
    """Return the records of the stars in use by field and identifier, in the order of their names."""
    stars = active_stars(session)
    rows = judged(session.exec(select(StarInFrame)), frames)
    levels: dict[StarKey, list[StarLevel]] = {}
    for level in session.exec(select(StarLevel)):
        levels.setdefault((level.combined_footprint_hash, level.gaia_id), []).append(level)
    order = sorted(stars, key=lambda key: (key[0], len(stars[key].name), stars[key].name))
    return {key: _record(stars[key], rows.get(key, []), levels.get(key, [])) for key in order}


def add_verdicts(table: Table, records: Mapping[StarKey, StarRecord]) -> None:
    """Add columns to a table of ``stars``; a star without a record gets 0 and an empty text.

    The columns: ``frames`` and ``usable``, the numbers of frames that contain the star and in which it is usable; one
    for each kind of verdict, with the number of frames; and ``trouble``, the same in words.
    """
    found = [records.get((str(r["combined_footprint_hash"]), str(r["gaia_id"]))) for r in table]
    table["frames"] = np.array([r.frames if r else 0 for r in found], int)
    table["usable"] = np.array([r.usable if r else 0 for r in found], int)
    for kind in (*KINDS, UNLIKE):
        table[kind] = np.array([r.verdicts.get(kind, 0) if r else 0 for r in found], int)
    table["trouble"] = np.array([r.trouble if r else "" for r in found], str)


def _record(star: Star, rows: list[StarInFrame], levels: list[StarLevel]) -> StarRecord:
    by_band = {row.band: row for row in levels}
    several = len(by_band) > 1
    left_out = [f"{r.band}: {r.comment}" if several else r.comment for r in by_band.values() if r.comment]
    notes = [f"{r.band}: {r.note}" if several else r.note for r in by_band.values() if r.note]
    if star.comment:
        notes.insert(0, star.comment)
    usable = sum(row.usable for row in rows)
    return StarRecord(star.name, star.gaia_id, len(rows), usable, verdicts(rows), "; ".join(left_out), "; ".join(notes))
