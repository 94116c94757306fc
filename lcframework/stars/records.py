"""What a project's frames say of its reference stars: how many show each, how many can use it, and why not."""

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

#: Kinds of verdict that speak of the star and not of the frame.
OF_THE_STAR = ("blended", "extended", "elongated")
#: What the PSF fit finds counts as a kind of its own.
UNLIKE = "unlike"
#: A star that is none in more than this share of the frames that can judge it is used in none.
MOST = 0.5
FEWEST_FRAMES = 2

StarKey = tuple[str, str]  # field, gaia_id


@attrs.frozen
class StarRecord:
    """One reference star over all frames that were judged."""

    name: str
    gaia_id: str
    frames: int  # that hold it
    usable: int  # of these
    verdicts: Mapping[str, int]  # frames by kind of verdict (see star_quality.KINDS), and by UNLIKE
    left_out: str = ""  # why the normalization does without it
    note: str = ""  # what is unusual about it, though it is used

    @property
    def trouble(self) -> str:
        """All that speaks against the star, on one line; empty where nothing does."""
        parts = [f"{kind} in {count} of {self.frames} frames" for kind, count in self.verdicts.items()]
        return "; ".join([*parts, *(t for t in (self.left_out, self.note) if t)])


def judged(rows: Iterable[StarInFrame], frames: Set[int] | None = None) -> dict[StarKey, list[StarInFrame]]:
    """Return the rows that hold a judged stamp by star; of some frames only, where `frames` is given."""
    out: dict[StarKey, list[StarInFrame]] = {}
    for row in rows:
        if row.signal_to_noise is not None and (frames is None or row.frame_id in frames):
            out.setdefault((row.combined_footprint_hash, row.gaia_id), []).append(row)
    return out


def verdicts(rows: Iterable[StarInFrame]) -> dict[str, int]:
    """Return in how many frames each kind of verdict was given, the commonest first."""
    kinds: Counter[str] = Counter()
    for row in rows:
        if row.comment:
            kinds[kind_of(row.comment)] += 1
        elif row.psf_comment:
            kinds[UNLIKE] += 1
    return dict(kinds.most_common())


def no_point_source(rows: Iterable[StarInFrame]) -> str:
    """Return why a star's frames, taken together, say that it is no single star; empty where they don't.

    A double shows in good seeing and hides in bad: in the frames where it hides it would be measured, with a flux that
    depends on the seeing. Frames in which it is saturated, masked or at the edge say nothing.
    """
    rows = list(rows)
    found = verdicts(rows)
    telling = sum(row.usable or kind_of(row.comment) in OF_THE_STAR for row in rows)
    against = {kind: found[kind] for kind in (*OF_THE_STAR, UNLIKE) if kind in found}
    if telling < FEWEST_FRAMES or sum(against.values()) <= MOST * telling:
        return ""
    return f"no single star in {sum(against.values())} of {telling} frames: {', '.join(against)}"


def star_records(session: Session, frames: Set[int] | None = None) -> dict[StarKey, StarRecord]:
    """Return the records of the stars in play by field and identifier, in the order of their names."""
    stars = active_stars(session)
    rows = judged(session.exec(select(StarInFrame)), frames)
    levels: dict[StarKey, list[StarLevel]] = {}
    for level in session.exec(select(StarLevel)):
        levels.setdefault((level.combined_footprint_hash, level.gaia_id), []).append(level)
    order = sorted(stars, key=lambda key: (key[0], len(stars[key].name), stars[key].name))
    return {key: _record(stars[key], rows.get(key, []), levels.get(key, [])) for key in order}


def add_verdicts(table: Table, records: Mapping[StarKey, StarRecord]) -> None:
    """Add to a table of ``stars`` what the frames say of each; nothing of those without a record.

    The columns: ``frames`` that hold the star, those in which it is ``usable``, one for each kind of verdict with the
    number of frames, and ``trouble`` in words.
    """
    found = [records.get((str(r["combined_footprint_hash"]), str(r["gaia_id"]))) for r in table]
    table["frames"] = np.array([r.frames if r else 0 for r in found], int)
    table["usable"] = np.array([r.usable if r else 0 for r in found], int)
    for kind in (*KINDS, UNLIKE):
        table[kind] = np.array([r.verdicts.get(kind, 0) if r else 0 for r in found], int)
    table["trouble"] = np.array([r.trouble if r else "" for r in found], str)


def _record(star: Star, rows: list[StarInFrame], levels: list[StarLevel]) -> StarRecord:
    told = {row.band: row for row in levels}
    several = len(told) > 1
    left_out = [f"{r.band}: {r.comment}" if several else r.comment for r in told.values() if r.comment]
    notes = [f"{r.band}: {r.note}" if several else r.note for r in told.values() if r.note]
    if star.comment:
        notes.insert(0, star.comment)
    usable = sum(row.usable for row in rows)
    return StarRecord(star.name, star.gaia_id, len(rows), usable, verdicts(rows), "; ".join(left_out), "; ".join(notes))
