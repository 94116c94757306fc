"""The choice of a frame's reference stars for the PSF and the photometry."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, SQLModel

from lcframework.config.toolbox import Tool
from lcframework.stars.known_variables import KNOWN_VARIABLE
from lcframework.storage.queries import StarRow, active_stars
from lcframework.storage.reading import read_once
from lcframework.types import Bools, CandidateStars, Floats, Ints, LcfError

#: Fainter stars add noise to a PSF and little weight to a coefficient; they are used where there are too few others.
MIN_SIGNAL_TO_NOISE = 20.0
FEWEST = 3
#: The comment on stars that are variable according to the catalogue.
VARIABLE = "variable by the catalogue"


@attrs.frozen(eq=False)
class FieldStars:
    """The reference stars of a field that are in use, nearest the region first, with what a choice asks of them.

    Attributes
    ----------
    stars : list of rows of ``stars``
        In their order.
    """

    stars: Sequence[StarRow]
    _without: dict[frozenset[str], Bools] = attrs.field(init=False, factory=dict, repr=False)

    @functools.cached_property
    def of_catalogue(self) -> tuple[Floats, Floats, Floats, Bools]:
        """Their distance (arcsec), magnitude, colour and whether the catalogue calls them variable, (n,) each."""
        colour = [np.nan if s.bp is None or s.rp is None else s.bp - s.rp for s in self.stars]
        return (
            np.array([s.distance_to_roi_arcsec for s in self.stars], float),
            np.array([s.magnitude for s in self.stars], float),
            np.array(colour, float),
            np.array([VARIABLE in s.comment or KNOWN_VARIABLE in s.comment for s in self.stars], bool),
        )

    @functools.cached_property
    def known_variables(self) -> frozenset[str]:
        """The letters of those that are known variables."""
        return frozenset(s.name for s in self.stars if KNOWN_VARIABLE in s.comment)

    def without(self, exclude: Iterable[str]) -> Bools:
        """Return (n,) which of them have none of these letters."""
        letters = frozenset(exclude)
        if letters not in self._without:
            self._without[letters] = np.array([s.name not in letters for s in self.stars], bool)
        return self._without[letters]


@attrs.frozen(eq=False)
class UsableStars:
    """The stars of a field with a usable stamp in a frame, nearest the region first.

    Attributes
    ----------
    field : FieldStars
        The stars of the field.
    which : (n,) array of int
        The indices of the usable ones among these.
    signal_to_noise : (n,) array
        Of each in this frame.
    """

    field: FieldStars
    which: Ints
    signal_to_noise: Floats


def usable_stars(session: Session) -> Mapping[tuple[int, str], UsableStars]:
    """Return the stars with a usable stamp for each frame and field with judged stamps; there may be none of them."""
    return read_once(session, _usable_stars)


def _usable_stars(session: Session) -> dict[tuple[int, str], UsableStars]:
    """Read at once for all frames, and hold in arrays: there are as many rows as frames times stars."""
    near = sorted(active_stars(session).items(), key=lambda i: (i[0][0], i[1].distance_to_roi_arcsec, i[1].gaia_id))
    if not near:
        return {}
    rank = {key: i for i, (key, _) in enumerate(near)}
    names, first = np.unique([field for (field, _), _ in near], return_index=True)
    ends = [*first[1:].tolist(), len(near)]
    fields = [FieldStars([star for _, star in near[a:b]]) for a, b in zip(first.tolist(), ends, strict=True)]
    s = SQLModel.metadata.tables["stars_in_frames"].c
    query = sa.select(s.combined_footprint_hash, s.gaia_id, s.frame_id, s.usable, s.signal_to_noise)
    rows = session.execute(query.where(s.signal_to_noise.is_not(None))).all()
    star_of = np.fromiter((rank.get((row[0], row[1]), -1) for row in rows), int, len(rows))
    frame_of = np.fromiter((row[2] for row in rows), int, len(rows))
    good = np.fromiter((row[3] for row in rows), bool, len(rows))
    signals = np.fromiter((row[4] for row in rows), float, len(rows))
    order = np.lexsort((star_of, frame_of))
    order = order[star_of[order] >= 0]
    star_of, frame_of, good, signals = star_of[order], frame_of[order], good[order], signals[order]
    field_of = np.searchsorted(first, star_of, side="right") - 1
    begins = np.flatnonzero(np.diff(frame_of, prepend=-1) | np.diff(field_of, prepend=-1))
    found: dict[tuple[int, str], UsableStars] = {}
    for start, end in itertools.pairwise([*begins.tolist(), len(order)]):
        field = int(field_of[start])
        usable = np.flatnonzero(good[start:end]) + start
        stars = UsableStars(fields[field], star_of[usable] - first[field], signals[usable])
        found[int(frame_of[start]), str(names[field])] = stars
    return found


def chosen_stars(
    usable: UsableStars, wanted: int | list[str], exclude: Collection[str], chooser: Tool | None = None
) -> list[StarRow]:
    """Return the chosen stars among the usable ones of a frame, without those with the letters in `exclude`.

    Where `wanted` is a number, `chooser` chooses among the stars with a signal-to-noise of at least
    `MIN_SIGNAL_TO_NOISE` in this frame; where fewer than `FEWEST` have it, among all. Without a chooser it is the
    nearest ones. They are in the order of their distance. Where `wanted` is a list, the stars with these letters, in
    its order.
    """
    stars = usable.field.stars
    if not isinstance(wanted, int):
        by_name = {stars[i].name: stars[i] for i in usable.which.tolist()}
        return [by_name[name] for name in wanted if name in by_name and name not in exclude]
    allowed = usable.field.without(exclude)[usable.which]
    bright = allowed & (usable.signal_to_noise >= MIN_SIGNAL_TO_NOISE)
    left = bright if np.count_nonzero(bright) >= FEWEST else allowed
    which = usable.which[left]
    if chooser is not None and len(which) > wanted:
        which = which[sorted(_choice(chooser, usable.field, which, usable.signal_to_noise[left], wanted))]
    return [stars[i] for i in which[:wanted].tolist()]


def _choice(chooser: Tool, field: FieldStars, which: Ints, signal_to_noise: Floats, wanted: int) -> list[int]:
    """Return the indices, among `which`, of the stars that a plugin chooses.

    Raises
    ------
    PluginFault
        Where its answer is none.
    """
    distance, magnitude, colour, variable = field.of_catalogue
    candidates = CandidateStars(distance[which], signal_to_noise, magnitude[which], colour[which], variable[which])
    return [int(i) for i in chooser.ask("choose", candidates, wanted)]


def check_names(session: Session, where: str, wanted: int | list[str], exclude: list[str]) -> None:
    """Refuse letters that no star has.

    Raises
    ------
    LcfError
        Names the unknown letters, and the existing ones.
    """
    known = {s.name for s in active_stars(session).values()}
    asked = [*exclude, *(wanted if isinstance(wanted, list) else [])]
    unknown = [n for n in asked if n not in known]
    if unknown and known:
        there = ", ".join(sorted(known, key=lambda n: (len(n), n)))
        raise LcfError(f"{where} names {', '.join(unknown)}; the reference stars are {there}")
