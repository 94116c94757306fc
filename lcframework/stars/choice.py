"""The choice of a frame's reference stars for the PSF and the photometry."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col

from lcframework.config.toolbox import Tool
from lcframework.stars.known_variables import KNOWN_VARIABLE
from lcframework.stars.names import choose
from lcframework.storage.queries import active_stars
from lcframework.storage.tables import Star, StarInFrame
from lcframework.types import CandidateStars, LcfError

#: Fainter stars add noise to a PSF and little weight to a coefficient; they are used where there are too few others.
MIN_SIGNAL_TO_NOISE = 20.0
FEWEST = 3
#: The comment on stars that are variable according to the catalogue.
VARIABLE = "variable by the catalogue"


class Stamp(NamedTuple):
    """What the choice asks of a usable stamp."""

    signal_to_noise: float


def usable_stars(session: Session) -> dict[tuple[int, str], list[tuple[Star, Stamp]]]:
    """Return the stars with a usable stamp for each frame and field, nearest the region first; lists may be empty."""
    near = sorted(active_stars(session).items(), key=lambda item: (item[1].distance_to_roi_arcsec, item[1].gaia_id))
    stars = {key: (rank, star) for rank, (key, star) in enumerate(near)}
    columns = (StarInFrame.frame_id, StarInFrame.combined_footprint_hash, StarInFrame.gaia_id, StarInFrame.usable,
               StarInFrame.signal_to_noise)  # fmt: skip
    rows = session.execute(sa.select(*map(col, columns)).where(col(StarInFrame.signal_to_noise).is_not(None)))
    found: dict[tuple[int, str], list[tuple[int, Star, float]]] = {}
    for frame, field, star, usable, signal_to_noise in rows:
        if (known := stars.get((field, star))) is not None:
            in_frame = found.setdefault((frame, field), [])
            if usable:
                in_frame.append((*known, signal_to_noise))
    by_rank = operator.itemgetter(0)
    return {key: [(star, Stamp(snr)) for _, star, snr in sorted(seen, key=by_rank)] for key, seen in found.items()}


def chosen_stars(
    rows: Sequence[tuple[Star, Stamp | StarInFrame]],
    wanted: int | list[str],
    exclude: list[str],
    chooser: Tool | None = None,
) -> list[Star]:
    """Return the chosen stars among the usable ones of a frame, nearest the region first.

    Where `wanted` is a number, `chooser` chooses among the stars with a signal-to-noise of at least
    `MIN_SIGNAL_TO_NOISE` in this frame; where fewer than `FEWEST` have it, among all. Without a chooser it is the
    nearest ones. Where `wanted` is a list, the stars with these letters.
    """
    if isinstance(wanted, int):
        bright = [r for r in rows if (r[1].signal_to_noise or 0) >= MIN_SIGNAL_TO_NOISE and r[0].name not in exclude]
        rows = bright if len(bright) >= FEWEST else [r for r in rows if r[0].name not in exclude]
        if chooser is not None and len(rows) > wanted:
            rows = [rows[i] for i in sorted(_choice(chooser, rows, wanted))]
    by_name = {s.name: s for s, _ in rows}
    return [by_name[n] for n in choose(list(by_name), wanted, exclude)]


def _choice(chooser: Tool, rows: Sequence[tuple[Star, Stamp | StarInFrame]], wanted: int) -> list[int]:
    """Return the indices of the stars that a plugin chooses.

    Raises
    ------
    PluginFault
        Where its answer is none.
    """
    stars = [star for star, _ in rows]
    colour = [np.nan if s.bp is None or s.rp is None else s.bp - s.rp for s in stars]
    candidates = CandidateStars(
        np.array([s.distance_to_roi_arcsec for s in stars]),
        np.array([r.signal_to_noise or 0.0 for _, r in rows]),
        np.array([s.magnitude for s in stars]),
        np.array(colour),
        np.array([VARIABLE in s.comment or KNOWN_VARIABLE in s.comment for s in stars]),
    )
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
