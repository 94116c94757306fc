"""Summaries of reference stars over all frames: in how many frames each is usable, and why not in the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col, select

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

#: Ids in one query: a database takes some ten thousand parameters.
_AT_ONCE = 10_000

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


@attrs.frozen
class Verdicts:
    """What the frames with a judged stamp say of a star.

    Attributes
    ----------
    frames, usable : int
        How many there are, and in how many it is usable.
    kinds : mapping
        The number of frames with each kind of verdict, the most common kind first.
    conclusive : int
        The number of frames that can tell whether it is a single star: neither saturated, nor masked, nor at the edge.
    """

    frames: int = 0
    usable: int = 0
    kinds: Mapping[str, int] = attrs.field(factory=dict)
    conclusive: int = 0


NOTHING = Verdicts()


def counted(frames: Mapping[tuple[bool, str], int]) -> Verdicts:
    """Return the verdicts on a star from the numbers of frames by (usable, kind of verdict or empty)."""
    kinds: Counter[str] = Counter()
    for (_, kind), count in frames.items():
        if kind:
            kinds[kind] += count
    order = [*KINDS, UNLIKE, *sorted(kinds.keys() - {*KINDS, UNLIKE})]
    ranked = sorted(kinds.items(), key=lambda item: (-item[1], order.index(item[0])))
    return Verdicts(
        sum(frames.values()),
        sum(count for (usable, _), count in frames.items() if usable),
        dict(ranked),
        sum(count for (usable, kind), count in frames.items() if usable or kind in OF_THE_STAR),
    )


def judged(session: Session, frames: Set[int] | None = None) -> dict[StarKey, Verdicts]:
    """Return the verdicts by star, counted by the database; only of `frames`, where given."""
    of_frames = [None] if frames is None else [col(StarInFrame.frame_id).in_(ids) for ids in _in_parts(frames)]
    found: dict[StarKey, Counter[tuple[bool, str]]] = {}
    star = (col(StarInFrame.combined_footprint_hash), col(StarInFrame.gaia_id))
    what = (*star, col(StarInFrame.usable), _kind())
    query = sa.select(*what, sa.func.count()).where(col(StarInFrame.signal_to_noise).is_not(None)).group_by(*what)
    for condition in of_frames:
        for field, name, usable, kind, count in session.execute(query if condition is None else query.where(condition)):
            found.setdefault((field, name), Counter())[bool(usable), kind_of(kind)] += count
    return {key: counted(numbers) for key, numbers in found.items()}


def _kind() -> sa.ColumnElement[str]:
    """Return the kind of a verdict as the database finds it: what a comment begins with; of others, the comment."""
    comment, of_psf = col(StarInFrame.comment), col(StarInFrame.psf_comment)
    starts: list[Any] = [
        (sa.func.substr(comment, 1, len(kind) + 1) == f"{kind}:", sa.literal_column(f"'{kind}'")) for kind in KINDS
    ]
    nothing: sa.ColumnElement[str] = sa.literal_column("''")
    return sa.case(
        (sa.and_(comment == nothing, of_psf == nothing), nothing),  # of most stars: the others need not be looked for
        *starts,
        (comment != nothing, comment),
        else_=sa.literal_column(f"'{UNLIKE}'"),
    )


def _in_parts(frames: Set[int]) -> list[list[int]]:
    """Return the ids in parts that a database takes in one query."""
    ids = sorted(frames)
    return [ids[i : i + _AT_ONCE] for i in range(0, len(ids), _AT_ONCE)]


def no_point_source(found: Verdicts) -> str:
    """Return the evidence from all frames that a star is no single star; empty where there is not enough.

    A double star is recognised only in good seeing. In other frames it would be measured, with a flux that depends on
    the seeing. Frames in which it is saturated, masked or at the edge are not conclusive.
    """
    against = {kind: found.kinds[kind] for kind in (*OF_THE_STAR, UNLIKE) if kind in found.kinds}
    if found.conclusive < FEWEST_FRAMES or sum(against.values()) <= MOST * found.conclusive:
        return ""
    return f"no single star in {sum(against.values())} of {found.conclusive} frames: {', '.join(against)}"


def star_records(session: Session, frames: Set[int] | None = None) -> dict[StarKey, StarRecord]:
    """Return the records of the stars in use by field and identifier, in the order of their names."""
    stars = active_stars(session)
    found = judged(session, frames)
    levels: dict[StarKey, list[StarLevel]] = {}
    for level in session.exec(select(StarLevel)):
        levels.setdefault((level.combined_footprint_hash, level.gaia_id), []).append(level)
    order = sorted(stars, key=lambda key: (key[0], len(stars[key].name), stars[key].name))
    return {key: _record(stars[key], found.get(key, NOTHING), levels.get(key, [])) for key in order}


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


def _record(star: Star, found: Verdicts, levels: list[StarLevel]) -> StarRecord:
    instruments = len({row.instrument for row in levels}) > 1
    groups = {f"{r.instrument} {r.band}".strip() if instruments else r.band: r for r in levels}
    several = len(groups) > 1
    left_out = [f"{group}: {r.comment}" if several else r.comment for group, r in groups.items() if r.comment]
    notes = [f"{group}: {r.note}" if several else r.note for group, r in groups.items() if r.note]
    if star.comment:
        notes.insert(0, star.comment)
    return StarRecord(
        star.name, star.gaia_id, found.frames, found.usable, found.kinds, "; ".join(left_out), "; ".join(notes)
    )
