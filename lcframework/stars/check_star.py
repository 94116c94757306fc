"""A check star: a reference star's magnitudes beside a light curve, which show whether the calibration holds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
from sqlmodel import Session, col, select

from lcframework.stars.sequence import StarSequence
from lcframework.storage.queries import fields_of_regions
from lcframework.storage.tables import NormalizationCoefficient, Star, StarFlux, StarLevel
from lcframework.types import LcfError


@attrs.frozen
class CheckStar:
    """A reference star, and its magnitude in frames.

    Attributes
    ----------
    name : str
        Its letter and its identifier in the catalogue; its name in the AAVSO's sequence, where there is one.
    magnitudes : mapping
        By the frames' ids; frames in which it is not measured are left out.
    """

    name: str
    magnitudes: Mapping[int, float]


def check_stars(
    session: Session,
    roi: str,
    zeropoints: Mapping[int, float],
    wanted: str = "",
    sequence: StarSequence | None = None,
    radius: float = 3.0,
) -> dict[int, CheckStar]:
    """Return the check star of each frame.

    Parameters
    ----------
    session : Session
        On the project's database.
    roi : str
        The region whose field the star is taken from.
    zeropoints : mapping
        The zero point of each frame, by its id; nan where there is none.
    wanted : str
        The star's letter; empty: in each instrument and band the steadiest of those in most frames.
    sequence : StarSequence, optional
        Its stars are taken first, and called by it.
    radius : float
        Arcsec within which a reference star is one of the sequence.

    Raises
    ------
    LcfError
        Where no star of the field is called so.
    """
    field = fields_of_regions(session).get(roi, "")
    stars = {s.gaia_id: s for s in session.exec(select(Star).where(Star.combined_footprint_hash == field))}
    charted = sequence.named(stars.values(), radius) if sequence is not None else {}
    if wanted and wanted not in {s.name for s in stars.values()}:
        known = ", ".join(sorted((s.name for s in stars.values()), key=lambda n: (len(n), n)))
        raise LcfError(f"check_star: no reference star of {roi} is called {wanted}; there are {known}")
    coefficients = session.exec(
        select(NormalizationCoefficient).where(NormalizationCoefficient.combined_footprint_hash == field)
    )
    by_group: dict[tuple[str, str], dict[int, float]] = {}
    for c in coefficients:
        if c.frame_id in zeropoints and c.coefficient > 0:
            by_group.setdefault((c.instrument, c.band), {})[c.frame_id] = c.coefficient
    out: dict[int, CheckStar] = {}
    for (instrument, band), of_frame in by_group.items():
        levels = session.exec(
            select(StarLevel).where(
                StarLevel.combined_footprint_hash == field, StarLevel.instrument == instrument, StarLevel.band == band
            )
        )
        steady = {r.gaia_id: r.intrinsic_scatter for r in levels if not r.comment or stars_name(stars, r) == wanted}
        flux: dict[str, dict[int, float]] = {}
        query = select(StarFlux).where(StarFlux.combined_footprint_hash == field, col(StarFlux.flux) > 0)
        for row in session.exec(query):
            if row.gaia_id in steady and row.frame_id in of_frame:
                flux.setdefault(row.gaia_id, {})[row.frame_id] = row.flux / of_frame[row.frame_id]
        possible = [g for g in flux if g in stars and wanted in ("", stars[g].name)]
        if possible:
            best = min(possible, key=lambda g: (g not in charted, -len(flux[g]), steady[g], g))
            magnitudes = {i: zeropoints[i] - 2.5 * math.log10(f) for i, f in flux[best].items()}
            name = charted[best].name if best in charted else f"{stars[best].name} {best}"
            found = CheckStar(name, magnitudes)
            out |= dict.fromkeys(of_frame, found)
    return out


def stars_name(stars: Mapping[str, Star], level: StarLevel) -> str:
    """Return the letter of a level's star; empty where it is none of the field's any more."""
    star = stars.get(level.gaia_id)
    return star.name if star is not None else ""
